// UTF-8 walking and the character classes tokenizers ask for, at the Unicode version of the oracle.
#pragma once

#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

enum CharFlag : std::uint8_t {
  kLetter = 1,   // \p{L}
  kNumber = 2,   // \p{N}
  kSpace = 4,    // \s: White_Space
  kNumeric = 8,  // Rust's char::is_numeric, a little newer than \p{N}
  kWord = 16,    // Rust regex \w
};

// One decoded character: its value and how many bytes it took.
struct CodePoint {
  char32_t value;
  std::size_t bytes;
};

// Decodes the character at `at` of valid UTF-8; `at` must be below text.size().
inline CodePoint decode_valid(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    return {lead, 1};
  }
  if (lead < 0xE0) {
    return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  }
  if (lead < 0xF0) {
    return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  }
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

// Start of the character that ends at `end` (> 0) of valid UTF-8.
inline std::size_t previous_start(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) {
    --at;
  }
  return at;
}

void append_utf8(std::string& out, char32_t value);

// Flags of every code point, expanded for O(1) look-up (1.1 MB). Immutable, shared by tokenizers.
class CharTable {
 public:
  CharTable();

  std::uint8_t flags(char32_t value) const {
    return value < flags_.size() ? flags_[value] : std::uint8_t{0};
  }

 private:
  std::vector<std::uint8_t> flags_;
};

// What stands at a position of arbitrary bytes.
struct Utf8Step {
  std::size_t bytes;  // length of the character, or of the ill-formed part to replace
  enum class Kind : std::uint8_t { kCharacter, kInvalid, kIncomplete } kind;
};

// Looks at the front of `text` (not empty). kIncomplete: a correct beginning cut by the end of
// text. The ill-formed part is the "maximal subpart" of Unicode 16, section 3.9, as Rust and WHATWG
// use.
Utf8Step utf8_step(std::string_view text);

bool is_valid_utf8(std::string_view text);

// Bytes to text with U+FFFD for every ill-formed part, as Rust's String::from_utf8_lossy.
std::string to_valid_utf8(std::string_view bytes);

// The same, moving `spans` (sorted byte ranges of `bytes`) to the new text.
std::string to_valid_utf8(std::string_view bytes,
                          std::span<const PlainSpan> spans,
                          std::vector<PlainSpan>& moved);

}  // namespace genesis::text
