// A compiled language: nondeterministic automata over bytes, one a rule, that may call each other.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace genesis::text::grammar {

struct Edge {
  enum class Kind : std::uint8_t { kEmpty, kBytes, kCall, kSpecial };

  Kind kind = Kind::kEmpty;
  std::uint32_t label = 0;  // number of the byte set, rule or special token
  std::uint32_t to = 0;
};

// What stands for "cannot be reached", small enough to be added a few times.
inline constexpr std::uint32_t kUnreachable = 1U << 30;

struct Nfa {
  struct Rule {
    std::uint32_t start = 0;
    std::uint32_t end = 0;  // no edges leave it
    bool nullable = false;
    std::string name;         // if well known, see ExprPool
    std::uint32_t first = 0;  // its other states are those from here
    std::uint32_t last = 0;   // to before here
  };

  std::vector<std::uint32_t> first_edge;  // of a state; one more at the end
  std::vector<Edge> edges;                // only such that lead on to the end of their rule
  std::vector<bool> is_end;               // the state ends a rule
  std::vector<Rule> rules;                // rule 0 is where a text begins
  std::vector<ByteSet> sets;
  std::vector<std::string> specials;
  std::array<std::uint8_t, 256> class_of{};  // bytes that no set tells apart share a class
  std::vector<std::uint8_t> class_byte;      // one byte of each class

  std::size_t states() const { return is_end.size(); }

  std::span<const Edge> out(std::uint32_t state) const {
    return std::span(edges).subspan(first_edge[state], first_edge[state + 1] - first_edge[state]);
  }
};

// A name for a set of states that is the same in every grammar, if they all belong to one
// well-known rule; else empty.
std::string well_known_place(const Nfa& nfa, std::span<const std::uint32_t> states);

enum class Calls : std::uint8_t {
  kAllowed,
  kNone,  // for the algebra of regular languages: everything in one automaton
};

// Fails when the limits are passed, when no text is in the language, and on left recursion. With
// Calls::kNone rules are refused and an empty language is an automaton without edges.
Result<Nfa> compile(const ExprPool& pool, Expr root, Calls calls);

inline constexpr std::uint32_t kNoEdge = ~std::uint32_t{0};

// The cheapest way from each state to the end of its rule. A byte and a special token cost 1, a
// call what its rule costs.
struct ShortestEnds {
  std::vector<std::uint32_t> cost;  // kUnreachable where there is none
  std::vector<std::uint32_t> edge;  // the first edge of the way, as a number in Nfa::edges
  std::vector<std::uint32_t>
      order;  // reachable states; the rest of each way comes before its state
};

ShortestEnds shortest_ends(const Nfa& nfa);

}  // namespace genesis::text::grammar
