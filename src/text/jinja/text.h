// Text: a string that knows which of its bytes came from outside the template (messages, tools).
#pragma once

#include "text/provenance.h"
#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::jinja {

constexpr std::uint32_t kNoMessage = std::numeric_limits<std::uint32_t>::max();

// Where bytes came from, and whether a {% generation %} block wrote them.
struct Origin {
  std::uint32_t message = kNoMessage;
  SourcePart part = SourcePart::kOther;
  bool foreign = false;  // not the template's own
  bool generated = false;

  bool operator==(const Origin&) const = default;
};

struct Mark {
  std::size_t begin = 0;
  std::size_t end = 0;
  Origin origin;
};

// Valid UTF-8. Marks are sorted, disjoint and not empty; those that touch differ in origin. Bytes
// without a mark are the template's own.
struct Text {
  std::string bytes;
  std::vector<Mark> marks;
  // jinja2's Markup: what `safe` and `escape` give. Text added to it is escaped.
  bool markup = false;
};

using TextRef = std::shared_ptr<const Text>;

// Puts a Text together, keeping track of where each part came from.
class TextBuilder {
 public:
  void add(std::string_view own) { text_.bytes += own; }

  void add(std::string_view bytes, const Origin& origin);

  void add(const Text& text) { add_part(text, 0, text.bytes.size()); }

  // The bytes [begin, end) of `text`.
  void add_part(const Text& text, std::size_t begin, std::size_t end);

  std::size_t size() const { return text_.bytes.size(); }

  Text take() { return std::move(text_); }

 private:
  void mark(std::size_t begin, std::size_t end, const Origin& origin);

  Text text_;
};

Text own_text(std::string_view bytes);
Text text_from(std::string_view bytes, const Origin& origin);
Text part_of(const Text& text, std::size_t begin, std::size_t end);
// The same text, every byte noted as written by a generation block.
Text as_generated(const Text& text);

// `bytes` made from `input` in a way that cannot be followed byte by byte: all from where the first
// foreign byte of `input` came from.
Text derived(std::string bytes, const Text& input);

// std::string_view::find and rfind, but in linear time whatever the pattern.
std::size_t find_in(std::string_view text, std::string_view part, std::size_t from = 0);
std::size_t rfind_in(std::string_view text, std::string_view part);

// Python's str.isspace for one character: what strip() and split() take for white space.
bool is_python_space(char32_t c);

// Characters of valid UTF-8, as Python counts them.
std::size_t length_in_characters(std::string_view text);
// Byte offset of character `index`, or the size of the text.
std::size_t character_offset(std::string_view text, std::size_t index);

// The range left after removing characters at both ends: white space, or those in `chars`.
enum class StripSide { kBoth, kLeft, kRight };
PlainSpan stripped(std::string_view text, StripSide side, const std::string_view* chars);

// Lines as str.splitlines() sees them, without their ends; gives up after `most` of them.
std::vector<PlainSpan> lines_of(std::string_view text, std::size_t most);

enum class Casing { kUpper, kLower, kTitle, kCapitalize };
// As str.upper(), lower(), title(), capitalize().
Text with_case(const Text& text, Casing casing);

}  // namespace genesis::text::jinja
