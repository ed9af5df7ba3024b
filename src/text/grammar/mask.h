// Which tokens may come next in a State, found by walking the vocabulary along the automaton.
#pragma once

#include "text/grammar/automaton.h"
#include "text/grammar/known_masks.h"
#include "text/grammar/token_trie.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::text::grammar {

// Owned and locked by Machine, as the automaton is.
class MaskMaker {
 public:
  // `special_ids`: by number of the language's special token.
  MaskMaker(Automaton& automaton,
            std::shared_ptr<const VocabularyTrie> vocabulary,
            std::vector<std::int32_t> special_ids);

  const Mask& mask(State* state);
  // Only tokens after which `most_cost` tokens are enough.
  Mask limited(State* state, std::uint32_t most_cost);

  std::size_t bytes() const { return bytes_; }

 private:
  struct Found {
    std::vector<std::int32_t> tokens;
    std::vector<Exit> exits;
    std::uint32_t worst_cost = 0;
    std::uint32_t most_cost = kUnreachable;
  };

  // What is known of a node wherever it stands: the tokens that stay within its rule, and from
  // which places on it depends on what follows the rule.
  struct NodeMask {
    State* state = nullptr;
    Mask mask;
    std::vector<Exit> exits;
    // Of a node that differs little from another one: that one, whose exits count for all but
    // some tokens (sorted).
    const NodeMask* model = nullptr;
    std::vector<std::int32_t> excluded;
  };

  // The states after 0, 1, .. plain characters, as long as each is one and the same for all of
  // them. The last one repeats if `endless`.
  struct PlainWay {
    std::vector<State*> states;
    bool endless = false;
  };

  Mask make(State* state);
  void walk(const ByteTrie& trie, ByteTrie::Part part, State* from, Found& found);
  void walk_all(const ByteTrie& trie, State* from, Found& found);
  // False when plain tokens have to be walked one by one.
  std::optional<PlainWay> plain_way(State* state, const Found& found);
  // Walks all tokens; those allowed as one are the result.
  const TokenBits* walk_wide(State* state, Found& found);
  const NodeMask& node_mask(std::uint32_t node);
  const NodeMask* model_of(State* state);
  void follow_model(State* state, const NodeMask& model, NodeMask& made);
  void walk_exits(const NodeMask& mask, State* below, Found& found);
  void add_specials(State* state, Found& found);
  // Moves long lists of tokens into bits of their own.
  void settle(Mask& mask);
  void make_node_mask(NodeMask& made);
  const TokenBits* keep(TokenBits bits);

  Automaton& automaton_;
  std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::vector<std::int32_t> special_ids_;
  std::unordered_map<std::uint32_t, NodeMask> node_masks_;
  std::deque<Mask> masks_;
  std::deque<TokenBits> bits_;
  std::vector<std::shared_ptr<const PlaceMask>> shared_;
  std::vector<State*> path_;
  std::vector<State*> model_path_;
  std::size_t bytes_ = 0;
};

}  // namespace genesis::text::grammar
