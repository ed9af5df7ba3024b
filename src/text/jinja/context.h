// What every operation of a rendering draws on: the budget of steps, the limits, and the objects
// that must be emptied at the end. One per rendering, used by one thread.
#pragma once

#include "base/result.h"
#include "text/chat_template.h"
#include "text/jinja/callable.h"
#include "text/jinja/value.h"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::jinja {

// A failure of the template: wrong types, missing values.
std::unexpected<Error> template_error(std::string message);
// Something was asked of an undefined value.
std::unexpected<Error> undefined_error(const Value& value);

class Context {
 public:
  explicit Context(const TemplateLimits& limits) : limits_(limits), steps_left_(limits.steps) {}

  virtual ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const TemplateLimits& limits() const { return limits_; }

  // Every operation pays before it works: one step, more for what grows with its input.
  Result<void> spend(std::uint64_t steps);

  std::uint64_t steps_left() const { return steps_left_; }

  // For a text that is made or copied.
  Result<void> spend_for_text(const Text& text);

  Result<void> spend_for(const Value& walked) { return spend(extent_of(walked).weight); }

  // New values, paid for and within the limits.
  Result<Value> text(Text text);

  Result<Value> text(std::string_view own) { return text(own_text(own)); }

  Result<Value> list(std::vector<Value> items, bool tuple = false);
  Result<Value> generator(std::vector<Value> items, std::optional<Error> failure = {});
  Result<Value> dict(DictBuilder builder);
  Result<std::shared_ptr<Namespace>> new_namespace();

  virtual Result<Value> call_macro(const Callable& macro, Arguments arguments) = 0;

  // raise_exception(): the message reaches the caller as it is.
  std::unexpected<Error> raise(std::string message);

  bool was_raised() const { return raised_; }

  // A text beyond limits().output_bytes.
  std::unexpected<Error> too_long() const;

  // Members are being read: an error that follows is likely about this message.
  void touch(const Dict& dict) {
    last_message_ = dict.message != kNoMessage ? dict.message : last_message_;
  }

  std::uint32_t last_message() const { return last_message_; }

  // Seconds since 1970, for strftime_now().
  std::int64_t now() const { return now_; }

  void set_now(std::int64_t now) { now_ = now; }

  // Counts nested evaluation for as long as it lives.
  class Nested {
   public:
    explicit Nested(Context& context) : context_(context) { ++context_.depth_; }

    ~Nested() { --context_.depth_; }

    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

    Result<void> check() const;

   private:
    Context& context_;
  };

 private:
  TemplateLimits limits_;
  std::uint64_t steps_left_;
  std::size_t depth_ = 0;
  bool raised_ = false;
  std::uint32_t last_message_ = kNoMessage;
  std::int64_t now_ = 0;
  // Namespaces can hold each other in a circle; the destructor empties them all.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// Names the arguments of a filter, test or function, in the order of its parameters; absent ones
// are nullopt. Too many or unknown ones are an error.
Result<std::vector<std::optional<Value>>> bind(std::string_view function,
                                               Arguments& arguments,
                                               std::initializer_list<std::string_view> names);

// Python's rules for numbers as arguments: bool counts as int.
Result<Int> need_int(const Value& value, std::string_view what);
Result<TextRef> need_text(const Value& value, std::string_view what);

}  // namespace genesis::text::jinja
