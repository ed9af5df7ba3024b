// CallReader: reads one call of a tool, byte by byte: who is called, and the arguments as the model
// wrote them.
#pragma once

#include "text/answer/json_scanner.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace genesis::text {

class CallReader {
 public:
  enum class Status : std::uint8_t {
    kMore,
    kEnd,     // the object is closed
    kBroken,  // `c` was not taken: what came before is no call
  };

  enum class Form : std::uint8_t {
    kObject,       // {"name": ..., "arguments": {...}}
    kPlainObject,  // the same without a marker around it: anything but a call gives up at once
    kArguments,    // {...}, the name is known
  };

  // `names` outlives this.
  CallReader(std::span<const std::string> names, Form form, std::string name = {});

  Status push(char c);

  // The name is known and the arguments are an object that has begun: the call may be announced.
  bool ready() const { return named_ && arguments_state_ != ArgumentsState::kNone; }

  // The name is known and the arguments are a whole object. Whatever follows cannot unmake it.
  bool made() const { return named_ && arguments_state_ == ArgumentsState::kWhole; }

  const std::string& name() const { return name_; }

  // Valid JSON text as far as it goes; each byte is given once.
  std::string take_arguments() { return std::exchange(arguments_, {}); }

 private:
  enum class ArgumentsState : std::uint8_t { kNone, kBegun, kWhole };
  enum class Capture : std::uint8_t { kNothing, kKey, kName, kArguments, kArgumentsText };

  bool note(char c, JsonPlace before);
  bool note_text(char c);
  bool begin_value(char c);
  bool end_text();
  bool decode_arguments();
  bool finish();

  std::span<const std::string> names_;
  Form form_;
  JsonScanner scanner_;
  Capture capture_ = Capture::kNothing;
  std::string raw_;  // of the string that is being read, escapes unresolved
  std::string key_;
  std::string name_;
  bool named_ = false;
  bool null_arguments_ = false;
  ArgumentsState arguments_state_ = ArgumentsState::kNone;
  std::string arguments_;  // not taken yet
};

// True when `name` is one of `names`.
bool is_tool_name(std::span<const std::string> names, std::string_view name);

}  // namespace genesis::text
