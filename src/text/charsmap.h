// sentencepiece's "precompiled charsmap": replacements of character sequences, as a double-array
// trie over their UTF-8 bytes. Layout: github.com/google/sentencepiece, src/normalizer.cc, and
// github.com/s-yata/darts-clone, include/darts.h.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Immutable; safe from any thread.
class Charsmap {
 public:
  // `blob`: the trie's size in bytes (little-endian 32 bits), the trie, the replacements, each with
  // a zero byte behind it.
  static Result<Charsmap> parse(std::string_view blob);

  struct Rule {
    std::size_t bytes;  // of the text it replaces
    std::string_view with;
  };

  // The rule for the shortest or the longest beginning of `text` that has one.
  std::optional<Rule> shortest(std::string_view text) const { return find(text, true); }

  std::optional<Rule> longest(std::string_view text) const { return find(text, false); }

 private:
  std::optional<Rule> find(std::string_view text, bool first) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace genesis::text
