// Added tokens: strings found in the text before it is cut into words, such as <|im_start|>.
// Semantics follow tokenizers' added_vocabulary.rs.
#pragma once

#include "text/aligned_text.h"
#include "text/flat_map.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;      // a control token: never recognised in plain spans
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space after it along
  bool normalized = false;   // matched against the normalized text
  bool verbatim = false;     // then the content is not normalized itself
};

// A part of the text: an added token, or text (id < 0) for the next stage.
struct Segment {
  std::int32_t id;
  std::size_t begin;
  std::size_t end;
};

// Finds a set of added tokens: at each place the longest one, left to right. Immutable; safe from
// any thread. Time is linear in the text times the length of the longest token.
class TokenMatcher {
 public:
  TokenMatcher(std::vector<AddedToken> tokens, std::shared_ptr<const CharTable> table);

  bool empty() const { return tokens_.empty(); }

  bool has_special() const;

  // Where the longest token that begins at `at` ends.
  std::optional<std::size_t> longest_end(std::string_view text, std::size_t at) const {
    const std::optional<Hit> hit = longest_at(text, at);
    return hit ? std::optional(hit->end) : std::nullopt;
  }

  struct Options {
    bool parse_special = true;
    std::span<const PlainSpan> plain_spans = {};  // in bytes of the input, sorted, disjoint
  };

  // Covers the text of `piece` (valid UTF-8) with segments in order.
  std::vector<Segment> split(const Piece& piece, const Options& options) const;

 private:
  struct Hit {
    std::size_t token;
    std::size_t end;
  };

  std::optional<Hit> longest_at(std::string_view text, std::size_t at) const;
  bool touches_word(std::string_view text, std::size_t begin, std::size_t end) const;
  std::size_t space_start(std::string_view text, std::size_t end) const;
  std::size_t space_end(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  std::shared_ptr<const CharTable> table_;
  FlatMap edges_;                   // node << 8 | byte -> node
  std::vector<std::int32_t> ends_;  // by node: index of the token that ends there, or -1
  std::array<bool, 256> starts_{};  // first bytes of tokens
};

}  // namespace genesis::text
