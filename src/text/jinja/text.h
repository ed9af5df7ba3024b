// Text: a string that knows which of its bytes came from outside the template (messages, tools).
#pragma once

#include "text/tokenizer.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::jinja {

// Valid UTF-8. Spans are sorted, disjoint, not empty, and never touch each other.
struct Text {
  std::string bytes;
  std::vector<PlainSpan> foreign;

  bool is_foreign() const { return !foreign.empty(); }
};

using TextRef = std::shared_ptr<const Text>;

// Puts a Text together, keeping track of where each part came from.
class TextBuilder {
 public:
  void add(std::string_view own) { text_.bytes += own; }

  void add(std::string_view bytes, bool foreign);

  void add(const Text& text) { add_part(text, 0, text.bytes.size()); }

  // The bytes [begin, end) of `text`.
  void add_part(const Text& text, std::size_t begin, std::size_t end);

  std::size_t size() const { return text_.bytes.size(); }

  Text take() { return std::move(text_); }

 private:
  void mark(std::size_t begin, std::size_t end);

  Text text_;
};

Text own_text(std::string_view bytes);
Text foreign_text(std::string_view bytes);
Text part_of(const Text& text, std::size_t begin, std::size_t end);

// `bytes` made from `inputs` in a way that cannot be followed byte by byte: all foreign if any was.
Text derived(std::string bytes, std::span<const Text* const> inputs);

// Python's str.isspace for one character: what strip() and split() take for white space.
bool is_python_space(char32_t c);

// Characters of valid UTF-8, as Python counts them.
std::size_t length_in_characters(std::string_view text);
// Byte offset of character `index`, or the size of the text.
std::size_t character_offset(std::string_view text, std::size_t index);

// The range left after removing characters at both ends: white space, or those in `chars`.
enum class StripSide { kBoth, kLeft, kRight };
PlainSpan stripped(std::string_view text, StripSide side, const std::string_view* chars);

// Lines as str.splitlines() sees them, without their ends.
std::vector<PlainSpan> lines_of(std::string_view text);

enum class Casing { kUpper, kLower, kTitle, kCapitalize };
// As str.upper(), lower(), title(), capitalize().
Text with_case(const Text& text, Casing casing);

}  // namespace genesis::text::jinja
