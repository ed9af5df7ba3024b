// Whether the branches of oneOf exclude each other: only then is "exactly one" the same as "one".
#include "text/grammar/schema_compiler.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace genesis::text::grammar {

namespace {

// Deeper than this no difference between two objects is looked for.
constexpr std::size_t kDeepestLook = 4;

// Comparing every pair of alternatives, each with automata of its own.
constexpr std::size_t kMostPairs = 4096;

bool apart(const CountRange& a, const CountRange& b) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  return a.most.value_or(kMost) < b.least || b.most.value_or(kMost) < a.least;
}

}  // namespace

Result<void> SchemaCompiler::check_branches(const std::vector<Facts>& alternatives) {
  std::size_t pairs = 0;
  for (std::size_t i = 0; i < alternatives.size(); ++i) {
    for (std::size_t j = i + 1; j < alternatives.size(); ++j) {
      for (const auto& [list, branch] : alternatives[i].branches) {
        const auto other = std::ranges::find_if(alternatives[j].branches, [&](const auto& entry) {
          return entry.first.schema == list.schema && entry.second != branch;
        });
        if (other == alternatives[j].branches.end()) {
          continue;
        }
        bool separate = false;
        if (++pairs <= kMostPairs) {
          GENESIS_TRY(separate, disjoint(alternatives[i], alternatives[j], 0));
        }
        if (!separate) {
          return unsupported_keyword("oneOf with branches that may overlap (use anyOf)",
                                     list.pointer);
        }
      }
    }
  }
  return {};
}

Result<bool> SchemaCompiler::disjoint(const Facts& a, const Facts& b, std::size_t depth) {
  const unsigned common = a.types & b.types;
  if (common == 0) {
    return true;
  }
  if (a.allowed || b.allowed) {
    const Facts& listed = a.allowed ? a : b;
    const Facts& other = a.allowed ? b : a;
    for (const json::value* value : *listed.allowed) {
      const bool object = value->is_object() || value->is_array();
      if (object && !other.allowed) {
        return false;
      }
      Facts both = other;
      if (other.allowed) {
        both.allowed.reset();
        const auto same = [&](const json::value* one) {
          const auto x = decimal_of(*one);
          const auto y = decimal_of(*value);
          return x && y ? compare(*x, *y) == 0 : *one == *value;
        };
        if (std::ranges::none_of(*other.allowed, same)) {
          continue;
        }
        if (object) {
          return false;
        }
      }
      GENESIS_TRY(const bool in_listed, allows(listed, *value));
      GENESIS_TRY(const bool in_other, allows(both, *value));
      if (in_listed && in_other) {
        return false;
      }
    }
    return true;
  }
  if ((common & (kNullType | kBooleanType)) != 0) {
    return false;
  }
  if ((common & (kIntegerType | kFractionType)) != 0) {
    NumberRange both = a.range;
    if (b.range.low) {
      both.raise(*b.range.low);
    }
    if (b.range.high) {
      both.lower(*b.range.high);
    }
    if (!both.empty()) {
      return false;
    }
  }
  if ((common & kArrayType) != 0 && !apart(a.items, b.items)) {
    return false;
  }
  if ((common & kStringType) != 0 && !apart(a.length, b.length)) {
    Facts both = a;
    both.patterns.insert(both.patterns.end(), b.patterns.begin(), b.patterns.end());
    both.formats.insert(both.formats.end(), b.formats.begin(), b.formats.end());
    GENESIS_TRY(const std::optional<Expr> spelled, spelled_string(both));
    if (!spelled) {
      return false;
    }
    GENESIS_TRY(const Dfa dfa, determinize(pool_, *spelled));
    if (!dfa.empty()) {
      return false;
    }
  }
  if ((common & kObjectType) != 0) {
    return disjoint_objects(a, b, depth);
  }
  return true;
}

// A member that one requires and the other forbids, or that both require with values that exclude
// each other.
Result<bool> SchemaCompiler::disjoint_objects(const Facts& a, const Facts& b, std::size_t depth) {
  if (depth == kDeepestLook) {
    return false;
  }
  if (apart(a.properties, b.properties)) {
    return true;
  }
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    for (const std::string& name : one->required) {
      GENESIS_TRY(const Conjunction mine, member_schemas(*one, name));
      GENESIS_TRY(const Conjunction theirs, member_schemas(*other, name));
      GENESIS_TRY(const std::vector<Facts> left, finder_.alternatives(mine));
      GENESIS_TRY(const std::vector<Facts> right, finder_.alternatives(theirs));
      bool separate = contains(other->required, name) || right.empty();
      for (const Facts& x : left) {
        for (const Facts& y : right) {
          if (separate) {
            GENESIS_TRY(separate, disjoint(x, y, depth + 1));
          }
        }
      }
      if (separate) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace genesis::text::grammar
