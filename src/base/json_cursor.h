// Reads JSON text in one pass without building a tree: for hot paths that need a few fields of
// texts they pass on. As strict as parse_json(); what it refuses may still be valid (deep nesting,
// numbers with exponents), so a caller that must be sure asks parse_json() then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace genesis {

// A position in one text. After the first violation everything fails and failed() stays true. Views
// point into the text.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : text_(text) {}

  bool begin_object() { return begin('{'); }

  bool begin_array() { return begin('['); }

  // The next member's name as written, without quotes; its value comes next. Nullopt at the end of
  // the object, which is then behind the cursor, and on failure.
  std::optional<std::string_view> next_member();
  // True when an item comes next; false at the end of the array, which is then behind the cursor.
  bool next_item();

  // True, with the null behind the cursor, when the next value is null.
  bool take_null();
  // What stands between the quotes, escapes unresolved but valid.
  std::optional<std::string_view> string();
  // A whole number of at most 18 digits.
  std::optional<std::int64_t> integer();
  // Any one value.
  bool skip();

  // True when the text was one valid value and is read to its end.
  bool at_end();

  bool failed() const { return failed_; }

 private:
  bool begin(char bracket);
  bool next(char closing);
  bool take_string();
  bool take_escape();
  bool take_number();
  bool take_word(std::string_view word);
  std::optional<unsigned> take_hex4();
  void skip_space();
  bool take(char c);
  bool fail();

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  bool need_comma_ = false;
  bool failed_ = false;
};

// The text of a string as JsonCursor::string() gives it, escapes resolved.
std::string unescape_json(std::string_view raw);

}  // namespace genesis
