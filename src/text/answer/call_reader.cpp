// Watches the top level of a call's object while the scanner checks all of it.
#include "text/answer/call_reader.h"

#include "base/json_cursor.h"

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

// Longer strings are no member's name and no tool's that we know; six bytes per escaped character
// of the longest name, 64 (OpenAI's limit), fit.
constexpr std::size_t kMostNameBytes = 512;

constexpr bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

bool names_arguments(std::string_view key) {
  return key == "arguments" || key == "parameters";
}

}  // namespace

bool is_tool_name(std::span<const std::string> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

CallReader::CallReader(std::span<const std::string> names, Form form, std::string name)
    : names_(names), form_(form), name_(std::move(name)) {
  if (form_ == Form::kArguments) {
    named_ = true;
    arguments_state_ = ArgumentsState::kBegun;
  }
}

CallReader::Status CallReader::push(char c) {
  const JsonPlace before = scanner_.place();
  const std::size_t depth = scanner_.depth();
  if (!scanner_.push(c)) {
    return Status::kBroken;
  }
  const bool ended = scanner_.place() == JsonPlace::kEnd;
  if (form_ == Form::kArguments) {
    arguments_.push_back(c);
    arguments_state_ = ended ? ArgumentsState::kWhole : ArgumentsState::kBegun;
    return ended ? Status::kEnd : Status::kMore;
  }
  if ((depth == 1 || capture_ != Capture::kNothing) && !note(c, before)) {
    return Status::kBroken;
  }
  if (ended) {
    return finish() ? Status::kEnd : Status::kBroken;
  }
  return Status::kMore;
}

// `c` was taken where `before` says, at the top level or inside of what is captured.
bool CallReader::note(char c, JsonPlace before) {
  switch (capture_) {
    case Capture::kNothing:
      if (c == '"' && (before == JsonPlace::kFirstKey || before == JsonPlace::kKey)) {
        capture_ = Capture::kKey;
        raw_.clear();
        return true;
      }
      return before != JsonPlace::kValue || is_space(c) || begin_value(c);
    case Capture::kArguments:
      arguments_.push_back(c);
      if (scanner_.depth() == 1) {
        arguments_state_ = ArgumentsState::kWhole;
        capture_ = Capture::kNothing;
      }
      return true;
    default:
      return note_text(c);
  }
}

bool CallReader::note_text(char c) {
  if (scanner_.place() == JsonPlace::kColon || scanner_.place() == JsonPlace::kAfter) {
    return end_text();
  }
  const bool fits = raw_.size() <= kMostNameBytes || capture_ == Capture::kArgumentsText;
  if (fits) {
    raw_.push_back(c);
  }
  return fits || capture_ == Capture::kKey;
}

// The first byte of a member's value at the top level. After the call is made its object is only
// read to its end.
bool CallReader::begin_value(char c) {
  if (made()) {
    return true;
  }
  if (key_ == "name") {
    capture_ = Capture::kName;
    raw_.clear();
    return c == '"' && !named_;
  }
  if (!names_arguments(key_)) {
    return named_ || form_ == Form::kObject || key_ == "type" || key_ == "id";
  }
  if (arguments_state_ != ArgumentsState::kNone) {
    return false;
  }
  if (c == '{') {
    capture_ = Capture::kArguments;
    arguments_state_ = ArgumentsState::kBegun;
    arguments_ = "{";
    return true;
  }
  if (c == '"') {
    capture_ = Capture::kArgumentsText;
    raw_.clear();
    return true;
  }
  null_arguments_ = c == 'n';  // null, as the scanner will see to
  return null_arguments_;
}

bool CallReader::end_text() {
  const Capture captured = std::exchange(capture_, Capture::kNothing);
  if (captured == Capture::kKey) {
    key_ = unescape_json(raw_);
    return true;
  }
  if (captured == Capture::kName) {
    name_ = unescape_json(raw_);
    named_ = is_tool_name(names_, name_);
    return named_;
  }
  return decode_arguments();
}

// Arguments written as a string that holds the object, as OpenAI's wire has it.
bool CallReader::decode_arguments() {
  const std::string text = unescape_json(std::exchange(raw_, {}));
  JsonScanner inner;
  for (const char c : text) {
    const bool around = inner.place() == JsonPlace::kStart || inner.place() == JsonPlace::kEnd;
    if (around && is_space(c)) {
      continue;
    }
    arguments_.push_back(c);
    if (!inner.push(c)) {
      return false;
    }
  }
  if (inner.place() == JsonPlace::kStart) {
    arguments_ = "{}";
  } else if (inner.place() != JsonPlace::kEnd) {
    return false;
  }
  arguments_state_ = ArgumentsState::kWhole;
  return true;
}

// A tool without parameters is called without arguments, but not by a mere {"name": ...} that
// nobody marked as a call.
bool CallReader::finish() {
  if (!named_) {
    return false;
  }
  if (arguments_state_ == ArgumentsState::kNone) {
    arguments_state_ = ArgumentsState::kWhole;
    arguments_ = "{}";
    return null_arguments_ || form_ == Form::kObject;
  }
  return true;
}

}  // namespace genesis::text
