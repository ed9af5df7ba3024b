// The deterministic automaton of a language, made as far as it is visited.
//
// Three things are interned, so that equal ones are one and can be compared by address or number:
//   Node    where a text may stand within one rule: a set of states of the nondeterministic one
//   Stack   where to go on when the rule ends: a node and the rest of the stack
//   State   where a text may stand at all: pairs of a node and a stack
// Not thread-safe but for State::next and State::mask, which are read without a lock.
#pragma once

#include "text/grammar/nfa.h"
#include "text/grammar/token_costs.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace genesis::text::grammar {

struct Mask;

struct Config {
  std::uint32_t node = 0;
  std::uint32_t stack = 0;

  auto operator<=>(const Config&) const = default;
};

// The whole text may end here.
inline constexpr std::uint32_t kBottom = 0;
// What lies below is not known: for what can be said about a node alone.
inline constexpr std::uint32_t kUnknownBelow = 1;

struct State {
  std::vector<Config> kernel;  // reached by reading, sorted
  std::vector<Config> all;     // with the rules called from there
  bool can_end = false;        // reached kBottom
  bool leaves = false;         // reached kUnknownBelow
  bool overflow = false;       // too ambiguous; nothing is known
  bool has_special = false;
  std::uint32_t cost = 0;  // tokens that are enough to end the text (or to leave)
  ByteSet live;            // bytes that may come next
  std::unique_ptr<std::atomic<State*>[]> next;  // by byte class
  std::atomic<const Mask*> mask = nullptr;
  // The state after any one plain character, if that is one and the same.
  std::optional<State*> after_plain;
};

struct NodeSpecial {
  std::uint32_t special = 0;
  std::uint32_t to = 0;  // a node
};

class Automaton {
 public:
  Automaton(std::shared_ptr<const Nfa> nfa, TokenCosts costs);

  State* start() { return start_; }

  // Nothing may follow; never part of the language.
  State* dead() { return &dead_; }

  State* step(State* state, std::uint8_t byte_class) {
    State* next = state->next[byte_class].load(std::memory_order_relaxed);
    return next != nullptr ? next : make_step(state, byte_class);
  }

  State* step_byte(State* state, std::uint8_t byte) { return step(state, nfa_->class_of[byte]); }

  State* step_special(State* state, std::uint32_t special);
  // The state of these alone; may hold duplicates.
  State* intern(std::vector<Config> kernel);
  // As intern(), without going on behind rules that may have ended.
  State* intern_as_is(std::vector<Config> kernel);

  // Of a node without its surroundings.
  State* alone(std::uint32_t node) { return intern({{node, kUnknownBelow}}); }

  // Where it goes on after the rule on top of this stack ends; not for the two lowest stacks.
  State* below(std::uint32_t stack);

  // See well_known_place().
  std::string place_of(std::uint32_t node) const {
    return well_known_place(*nfa_, nodes_[node].items);
  }

  std::uint32_t stack_cost(std::uint32_t stack) const { return stacks_[stack].cost; }

  State* after_plain(State* state);

  // The special tokens that may come next, each with the state after it.
  std::vector<std::pair<std::uint32_t, State*>> specials(State* state);

  // The same place in another automaton of the same language.
  State* move_to(const State& state, Automaton& other) const;

  std::size_t bytes() const { return bytes_; }

  const Nfa& nfa() const { return *nfa_; }

 private:
  struct Call {
    std::uint32_t entry = 0;      // a node
    std::uint32_t return_to = 0;  // a node
  };

  struct Node {
    std::vector<std::uint32_t> items;  // states of the nfa, sorted
    bool calls_known = false;
    std::vector<Call> calls;
    std::vector<NodeSpecial> specials;
    bool ends = false;
    bool only_ends = false;  // nothing can be read from here
    std::uint32_t cost = 0;
    ByteSet live;
    std::vector<std::uint32_t> next;  // by byte class
  };

  struct Stack {
    std::uint32_t return_to = 0;
    std::uint32_t below = 0;
    std::uint32_t cost = 0;
    State* state = nullptr;
  };

  // What may have ended: the whole text, or the node whose surroundings are not known.
  struct Ends {
    bool text = false;
    bool node = false;
    bool overflow = false;
  };

  struct ItemsHash {
    std::size_t operator()(const std::vector<std::uint32_t>& items) const;
  };

  struct KernelHash {
    std::size_t operator()(const std::vector<Config>& kernel) const;
  };

  State* make_step(State* state, std::uint8_t byte_class);
  // The node of what is reached from `targets` without reading.
  std::uint32_t node_of(std::vector<std::uint32_t> targets);
  std::uint32_t intern_node(std::vector<std::uint32_t> items);
  void find_calls(std::uint32_t index);
  std::uint32_t node_step(std::uint32_t node, std::uint8_t byte_class);
  std::uint32_t push(std::uint32_t return_to, std::uint32_t below);
  std::uint32_t rule_entry(std::uint32_t rule);
  bool tail(std::uint32_t state) const;
  Ends unwind(std::vector<Config>& kernel) const;
  State* make_state(std::vector<Config> kernel, const Ends& ends);
  void merge_same_stacks(std::vector<Config>& kernel);
  void add_calls(State& state);
  State* after_plain_call(State* state);
  bool same_after(State* state, std::size_t form, std::size_t at, State*& found);

  std::shared_ptr<const Nfa> nfa_;
  TokenCosts costs_;
  std::deque<Node> nodes_;
  std::unordered_map<std::vector<std::uint32_t>, std::uint32_t, ItemsHash> node_index_;
  std::vector<std::uint32_t> entries_;  // by rule
  std::vector<Stack> stacks_;
  std::unordered_map<std::uint64_t, std::uint32_t> stack_index_;
  std::deque<State> states_;
  std::unordered_map<std::vector<Config>, State*, KernelHash> state_index_;
  std::vector<std::uint32_t> mark_;
  std::uint32_t marked_ = 0;
  std::size_t bytes_ = 0;
  ByteSet plain_starts_;  // first bytes of characters that a JSON string holds as they are
  State dead_;
  State* start_ = nullptr;
};

}  // namespace genesis::text::grammar
