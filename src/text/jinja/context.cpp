#include "text/jinja/context.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::text::jinja {

namespace {

// A step buys 16 bytes of new text, and every value costs a step or more, so the budget of steps
// bounds the memory of a rendering as well as its time.
constexpr std::size_t kTextBytesPerStep = 16;
constexpr std::uint64_t kStepsPerMark = 2;
constexpr std::uint64_t kStepsPerContainer = 2;
constexpr std::uint64_t kStepsPerEntry = 3;
constexpr std::size_t kMaxValueDepth = 160;
// Levels of evaluation per level of the template's own depth: an expression inside a macro inside a
// loop takes a handful.
constexpr std::size_t kEvaluationsPerLevel = 8;
constexpr std::uint64_t kStepsPerNamespace = 32;

}  // namespace

std::unexpected<Error> template_error(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::unexpected<Error> undefined_error(const Value& value) {
  const Undefined* undefined = value.get<Undefined>();
  const bool known = undefined != nullptr && undefined->what;
  return template_error(known ? *undefined->what : "an undefined value was used");
}

Context::~Context() {
  for (const std::shared_ptr<Namespace>& space : namespaces_) {
    space->attributes.clear();
  }
}

Result<void> Context::spend(std::uint64_t steps) {
  if (steps > steps_left_) {
    steps_left_ = 0;
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("the chat template took more than {} steps", limits_.steps));
  }
  steps_left_ -= steps;
  return {};
}

Result<void> Context::spend_for_text(const Text& text) {
  return spend(1 + text.bytes.size() / kTextBytesPerStep + text.marks.size() * kStepsPerMark);
}

Result<Value> Context::text(Text text) {
  if (text.bytes.size() > limits_.output_bytes) {
    return too_long();
  }
  GENESIS_TRY_VOID(spend_for_text(text));
  return Value::text(std::move(text));
}

Result<Value> Context::list(std::vector<Value> items, bool tuple) {
  GENESIS_TRY_VOID(spend(kStepsPerContainer + items.size()));
  Value made = make_list(std::move(items), tuple);
  if (extent_of(made).depth > kMaxValueDepth) {
    return fail(ErrorCode::kResourceExhausted, "the chat template nested lists too deeply");
  }
  return made;
}

Result<Value> Context::generator(std::vector<Value> items, std::optional<Error> failure) {
  GENESIS_TRY_VOID(spend(kStepsPerContainer + items.size()));
  // Running out of a budget is no affair of the template's; it ends the rendering at once.
  if (failure && failure->code == ErrorCode::kResourceExhausted) {
    return std::unexpected(std::move(*failure));
  }
  return make_generator(std::move(items), std::move(failure));
}

Result<Value> Context::dict(DictBuilder builder) {
  Value made = builder.take();
  GENESIS_TRY_VOID(spend(kStepsPerContainer + made.as_dict()->items.size() * kStepsPerEntry));
  if (extent_of(made).depth > kMaxValueDepth) {
    return fail(ErrorCode::kResourceExhausted, "the chat template nested dicts too deeply");
  }
  return made;
}

Result<std::shared_ptr<Namespace>> Context::new_namespace() {
  GENESIS_TRY_VOID(spend(kStepsPerNamespace));
  return namespaces_.emplace_back(std::make_shared<Namespace>());
}

std::unexpected<Error> Context::too_long() const {
  return fail(
      ErrorCode::kResourceExhausted,
      fmt::format("the chat template made a text of more than {} bytes", limits_.output_bytes));
}

std::unexpected<Error> Context::raise(std::string message) {
  raised_ = true;
  return template_error(std::move(message));
}

Result<void> Context::Nested::check() const {
  if (context_.depth_ > context_.limits_.depth * kEvaluationsPerLevel) {
    return fail(ErrorCode::kResourceExhausted, "the chat template recursed too deeply");
  }
  return {};
}

bool Arguments::take(std::string_view name, Value& into) {
  for (auto at = named.begin(); at != named.end(); ++at) {
    if (at->first == name) {
      into = std::move(at->second);
      named.erase(at);
      return true;
    }
  }
  return false;
}

Result<std::vector<std::optional<Value>>> bind(std::string_view function,
                                               Arguments& arguments,
                                               std::initializer_list<std::string_view> names) {
  if (arguments.positional.size() > names.size()) {
    return template_error(fmt::format("{}() takes at most {} arguments", function, names.size()));
  }
  std::vector<std::optional<Value>> out(names.size());
  std::size_t at = 0;
  for (const std::string_view name : names) {
    Value value;
    if (at < arguments.positional.size()) {
      out[at] = std::move(arguments.positional[at]);
    } else if (arguments.take(name, value)) {
      out[at] = std::move(value);
    }
    ++at;
  }
  if (!arguments.named.empty()) {
    return template_error(fmt::format(
        "{}() got an unexpected argument '{}'", function, arguments.named.front().first));
  }
  return out;
}

Result<Int> need_int(const Value& value, std::string_view what) {
  if (const Int* i = value.get<Int>()) {
    return *i;
  }
  if (const bool* b = value.get<bool>()) {
    return *b ? 1 : 0;
  }
  if (value.is_undefined()) {
    return undefined_error(value);
  }
  return template_error(fmt::format("{} must be an integer, not {}", what, type_name(value)));
}

Result<TextRef> need_text(const Value& value, std::string_view what) {
  if (const TextRef* text = value.get<TextRef>()) {
    return *text;
  }
  if (value.is_undefined()) {
    return undefined_error(value);
  }
  return template_error(fmt::format("{} must be a string, not {}", what, type_name(value)));
}

}  // namespace genesis::text::jinja
