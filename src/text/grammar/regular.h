// Algebra of regular languages: what JSON Schema needs to combine patterns, lengths and names.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

// Deterministic; state 0 is the first. Every state but the first leads to acceptance.
struct Dfa {
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::array<std::uint8_t, 256> class_of{};
  std::size_t classes = 0;
  std::vector<std::uint32_t> next;  // by state and class
  std::vector<bool> accepts;

  std::size_t states() const { return accepts.size(); }

  std::uint32_t step(std::uint32_t state, std::uint8_t byte) const {
    return state == kNone ? kNone : next[state * classes + class_of[byte]];
  }

  bool empty() const;
  bool contains(std::string_view bytes) const;
};

// Of an expression without rules. kInvalidArgument when it needs too many states.
Result<Dfa> determinize(const ExprPool& pool, Expr expr);

enum class Combine : std::uint8_t { kBoth, kFirstOnly };

Result<Dfa> combine(const Dfa& a, const Dfa& b, Combine how);

Expr to_expr(ExprPool& pool, const Dfa& dfa);

// Removes states from which nothing is accepted, and merges equal ones.
Dfa minimal(const Dfa& dfa);

}  // namespace genesis::text::grammar
