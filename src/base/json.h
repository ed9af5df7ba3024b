// JSON in and out. In: Boost.JSON with limits, typed accessors that name the offending field, and a
// lazy scanner that keeps unknown fields byte for byte. Out: a streaming writer.
#pragma once

#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis {

// Nesting deeper than this is refused; far above any real request, far below stack trouble.
inline constexpr std::size_t kMaxJsonDepth = 128;

// Parses a whole document; strict RFC 8259, valid UTF-8 only. The error says what and at which
// byte.
Result<boost::json::value> parse_json(std::string_view text);

// One member of a JSON object: `key` unescaped, `value` the raw bytes between ':' and ',' trimmed.
struct JsonMember {
  std::string key;
  std::string_view value;  // points into the scanned text
};

// The top-level members of an object in order, without building a tree; the values are checked only
// for balanced structure, so use it on text that parse_json() has accepted.
Result<std::vector<JsonMember>> scan_members(std::string_view object_text);
// The same for the items of an array.
Result<std::vector<std::string_view>> scan_items(std::string_view array_text);

// How many leading bytes of `text` stand in a JSON string as they are: ASCII but control
// characters, the quote and the backslash.
std::size_t plain_prefix(std::string_view text);
// Length of the valid UTF-8 sequence at the front of `text`, which is not empty, or 0 (RFC 3629,
// table in section 4).
std::size_t utf8_sequence_length(std::string_view text);

// Appends `text` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// Appends the shortest decimal that reads back equal; NaN and infinities become null.
void append_json_number(std::string& out, double value);
// As above for float: shortest decimal that reads back as the same float.
void append_json_number(std::string& out, float value);

// Writes JSON into a string, placing commas by itself. Not validating: the caller pairs begin/end.
//   JsonWriter w; w.begin_object(); w.key("id"); w.string("x"); w.end_object();
class JsonWriter {
 public:
  void begin_object() { open('{'); }

  void end_object() { close('}'); }

  void begin_array() { open('['); }

  void end_array() { close(']'); }

  void key(std::string_view name);
  void string(std::string_view text);
  void number(double value);
  void number(float value);
  void integer(std::int64_t value);
  void boolean(bool value);
  void null();
  // Inserts text that is already JSON.
  void raw(std::string_view json);

  void field(std::string_view name, std::string_view text) {
    key(name);
    string(text);
  }

  void field(std::string_view name, const char* text) { field(name, std::string_view(text)); }

  void field(std::string_view name, std::int64_t value) {
    key(name);
    integer(value);
  }

  void field_bool(std::string_view name, bool value) {
    key(name);
    boolean(value);
  }

  void field_number(std::string_view name, double value) {
    key(name);
    number(value);
  }

  void field_raw(std::string_view name, std::string_view json) {
    key(name);
    raw(json);
  }

  void field_null(std::string_view name) {
    key(name);
    null();
  }

  const std::string& str() const { return out_; }

  std::string take() { return std::move(out_); }

 private:
  void open(char bracket);
  void close(char bracket);
  void separate();

  std::string out_;
  bool need_comma_ = false;
};

// Typed reads from an object. A wrong type is an error naming `prefix` + key; absence and null give
// nullopt. `prefix` is "" at top level or e.g. "messages[2].".
Result<std::optional<std::string>> get_string(const boost::json::object& object,
                                              std::string_view key,
                                              std::string_view prefix = {});
Result<std::optional<double>> get_number(const boost::json::object& object,
                                         std::string_view key,
                                         std::string_view prefix = {});
Result<std::optional<std::int64_t>> get_integer(const boost::json::object& object,
                                                std::string_view key,
                                                std::string_view prefix = {});
Result<std::optional<bool>> get_bool(const boost::json::object& object,
                                     std::string_view key,
                                     std::string_view prefix = {});

}  // namespace genesis
