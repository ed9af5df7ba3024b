// Which tokens may come next in a State, found by walking the vocabulary along the automaton.
#pragma once

#include "text/grammar/automaton.h"
#include "text/grammar/token_trie.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::text::grammar {

// The allowed tokens: those of `base`, which several masks may share, and some more.
struct Mask {
  const TokenBits* base = nullptr;
  std::vector<std::int32_t> tokens;
  std::uint32_t worst_cost = 0;  // the most tokens that may be needed after one of them

  void write(std::span<std::uint64_t> allowed) const;
};

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
    std::vector<std::uint32_t> exits;  // trie nodes after whose byte the rule may have ended
    std::uint32_t worst_cost = 0;
    std::uint32_t most_cost = kUnreachable;
  };

  // What is known of a node wherever it stands: the tokens that stay within its rule, and from
  // which trie nodes on it depends on what follows the rule.
  struct NodeMask {
    Mask mask;
    const ByteTrie* trie = nullptr;
    std::vector<std::uint32_t> exits;
    std::unique_ptr<ByteTrie> suffixes;  // what follows all the exits, as one trie
    int uses = 0;
  };

  struct Part {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
  };

  Mask make(State* state);
  void walk(const ByteTrie& trie, Part part, State* from, Found& found);
  // Plain tokens allowed as one; nullptr when they have to be walked one by one.
  const TokenBits* plain_base(State* state, Found& found);
  const NodeMask& node_mask(std::uint32_t node);
  void walk_exits(NodeMask& mask, State* below, Found& found);
  void build_suffixes(NodeMask& mask);
  void add_specials(State* state, Found& found);
  // Moves long lists of tokens into bits of their own.
  void settle(Mask& mask);
  const TokenBits* keep(TokenBits bits);

  Automaton& automaton_;
  std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::vector<std::int32_t> special_ids_;
  std::unordered_map<std::uint32_t, NodeMask> node_masks_;
  std::deque<Mask> masks_;
  std::deque<TokenBits> bits_;
  std::vector<State*> path_;
  std::size_t bytes_ = 0;
};

}  // namespace genesis::text::grammar
