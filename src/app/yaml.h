// YAML files of other programs, read into a plain tree that remembers lines. Hostile input: size,
// depth and number of nodes are limited, aliases count as the nodes they stand for.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

inline constexpr std::size_t kMaxYamlBytes = 4 * 1024 * 1024;
inline constexpr int kMaxYamlDepth = 32;
inline constexpr std::size_t kMaxYamlNodes = 200'000;
inline constexpr std::size_t kMaxYamlMembers = 4'096;  // of one map; they are searched in order

struct YamlMember;

struct YamlNode {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::size_t line = 0;  // from 1
  std::string scalar;    // as written; "true" and "1.5" are not interpreted
  std::vector<YamlNode> items;
  std::vector<YamlMember> members;  // in the order of the file

  bool is_map() const { return kind == Kind::kMap; }

  bool is_list() const { return kind == Kind::kList; }

  bool is_scalar() const { return kind == Kind::kScalar; }

  // nullptr when this is no map or has no such member.
  const YamlNode* find(std::string_view key) const;
  // The scalar of a member; "" when there is none.
  std::string text(std::string_view key) const;
};

struct YamlMember {
  std::string key;
  YamlNode value;
};

// One document. kInvalidArgument with the line for what is no YAML, is too deep, or too large, and
// for a key that occurs twice.
Result<YamlNode> parse_yaml(std::string_view text);

}  // namespace genesis::app
