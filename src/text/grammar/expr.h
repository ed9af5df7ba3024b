// Expressions of a language before it is compiled: the pool that GrammarBuilder, the JSON Schema
// translator and the two parsers write into.
#pragma once

#include "base/result.h"
#include "text/grammar/grammar.h"

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace genesis::text::grammar {

using Expr = std::int32_t;
using ByteSet = std::bitset<256>;

template <typename List, typename Value>
bool contains(const List& list, const Value& value) {
  return std::ranges::find(list, value) != std::ranges::end(list);
}

// An arc of a hand-made automaton; its label may be any expression.
struct Arc {
  std::uint32_t from = 0;
  Expr label = 0;
  std::uint32_t to = 0;
};

struct ExprNode {
  enum class Kind : std::uint8_t {
    kNothing,  // no word at all
    kBytes,
    kLiteral,
    kSequence,
    kChoice,
    kRepeat,
    kSpecial,
    kRule,
    kGraph,  // from node 0 to node 1
  };

  Kind kind = Kind::kNothing;
  std::uint32_t set = 0;   // kBytes: index of the set; kRule: number of the rule
  std::uint32_t size = 0;  // kGraph: how many nodes
  std::size_t least = 0;
  std::optional<std::size_t> most;
  std::string text;  // kLiteral, kSpecial; kRule: its name, if it is well known
  std::vector<Expr> parts;
  std::vector<Arc> arcs;
};

inline constexpr Expr kUndefinedRule = -1;

class ExprPool {
 public:
  explicit ExprPool(const GrammarLimits& limits);

  Expr nothing() const { return 0; }

  Expr empty() const { return 1; }

  Expr literal(std::string_view bytes);
  Expr bytes(const ByteSet& set);
  Expr byte_range(unsigned first, unsigned last);
  Expr character(std::span<const CodePointRange> ranges, bool negated);
  Expr sequence(std::vector<Expr> parts);
  Expr choice(std::vector<Expr> parts);
  Expr repeat(Expr part, std::size_t least, std::optional<std::size_t> most);

  Expr optional(Expr part) { return repeat(part, 0, 1); }

  Expr special(std::string_view content);
  Expr text_without(std::string_view marker);
  Expr graph(std::uint32_t size, std::vector<Arc> arcs);
  Expr new_rule();
  void define(Expr rule, Expr body);
  // A rule whose language its name tells in every grammar; what is found out about it is kept with
  // the vocabulary. `body` shares no part with other expressions.
  Expr well_known(std::string_view name, Expr body);

  const ExprNode& at(Expr expr) const { return nodes_[static_cast<std::size_t>(expr)]; }

  const ByteSet& set(std::uint32_t index) const { return sets_[index]; }

  Expr rule_body(std::uint32_t rule) const { return rules_[rule]; }

  std::size_t rules() const { return rules_.size(); }

  std::size_t size() const { return nodes_.size(); }

  const GrammarLimits& limits() const { return limits_; }

  // Fails once more expressions were made than the limits allow; parsers ask as they go.
  Result<void> check_size() const;

 private:
  Expr add(ExprNode node);

  GrammarLimits limits_;
  std::vector<ExprNode> nodes_;
  std::vector<ByteSet> sets_;
  std::unordered_map<ByteSet, std::uint32_t> set_index_;
  std::vector<Expr> rules_;
};

// Sorted, disjoint, not touching, without surrogates, at most U+10FFFF.
std::vector<CodePointRange> normal_ranges(std::span<const CodePointRange> ranges, bool negated);

}  // namespace genesis::text::grammar
