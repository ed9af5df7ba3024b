#include "text/jinja/format.h"

#include "text/jinja/access.h"
#include "text/jinja/literal.h"
#include "text/jinja/print.h"
#include "text/jinja/text_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace genesis::text::jinja {

namespace {

constexpr std::size_t kMaxWidth = 1000;

struct Conversion {
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  bool alternate = false;
  std::size_t width = 0;
  std::optional<std::size_t> precision;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(Context& context, const Text& pattern, const Value& values)
      : context_(context), pattern_(pattern), values_(values) {}

  Result<Value> run() {
    const std::string_view bytes = pattern_.bytes;
    while (at_ < bytes.size()) {
      const std::size_t percent = std::min(bytes.find('%', at_), bytes.size());
      out_.add_part(pattern_, at_, percent);
      at_ = percent + 1;
      if (percent < bytes.size()) {
        GENESIS_TRY_VOID(conversion());
      }
      GENESIS_TRY_VOID(context_.spend(1));
      if (out_.size() > context_.limits().output_bytes) {
        return context_.too_long();
      }
    }
    const List* list = values_.as_list();
    const bool is_tuple = list != nullptr && list->tuple;
    const std::size_t given = is_tuple ? list->items.size() : 1;
    // Python lets whatever can be subscripted, but for tuples and texts, go unused; an undefined
    // value can be.
    const bool may_stay =
        values_.as_dict() != nullptr || (list != nullptr && !is_tuple) || values_.is_undefined();
    if (used_ < given && !may_stay) {
      return template_error("not all arguments converted during string formatting");
    }
    Text made = out_.take();
    made.markup = pattern_.markup;
    return context_.text(std::move(made));
  }

 private:
  char peek() const { return at_ < pattern_.bytes.size() ? pattern_.bytes[at_] : '\0'; }

  Result<std::size_t> number() {
    std::size_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + static_cast<std::size_t>(pattern_.bytes[at_++] - '0');
      if (value > kMaxWidth) {
        return fail(ErrorCode::kResourceExhausted, "a field of a format is too wide");
      }
    }
    return value;
  }

  Result<Value> next_value(std::optional<std::string_view> name) {
    if (name) {
      const Dict* dict = values_.as_dict();
      const Value* found = dict != nullptr ? dict->find(*name) : nullptr;
      return found != nullptr ? Result<Value>(*found)
                              : template_error("a format needs a value that is not there");
    }
    const List* tuple = values_.as_list();
    const bool many = tuple != nullptr && tuple->tuple;
    if (used_ >= (many ? tuple->items.size() : 1)) {
      return template_error("not enough arguments for format string");
    }
    return many ? tuple->items[used_++] : (++used_, values_);
  }

  Result<void> conversion() {
    std::optional<std::string_view> name;
    if (peek() == '(') {
      const std::size_t close = pattern_.bytes.find(')', at_);
      if (close == std::string::npos) {
        return template_error("incomplete format key");
      }
      name = std::string_view(pattern_.bytes).substr(at_ + 1, close - at_ - 1);
      at_ = close + 1;
    }
    Conversion how;
    for (;; ++at_) {
      const char c = peek();
      how.left |= c == '-';
      how.zero |= c == '0';
      how.plus |= c == '+';
      how.space |= c == ' ';
      how.alternate |= c == '#';
      if (c == '\0' || !std::string_view("-0+ #").contains(c)) {
        break;
      }
    }
    GENESIS_TRY(how.width, number());
    if (peek() == '.') {
      ++at_;
      GENESIS_TRY(how.precision, number());
    }
    how.type = peek();
    ++at_;
    if (how.type == '%') {
      out_.add("%");
      return {};
    }
    GENESIS_TRY(const Value value, next_value(name));
    return convert(how, value);
  }

  Result<void> convert(const Conversion& how, const Value& value) {
    switch (how.type) {
      case 's':
      case 'r': {
        GENESIS_TRY(Text text,
                    how.type == 's' ? to_str(context_, value) : to_repr(context_, value));
        if (pattern_.markup && !text.markup) {
          GENESIS_TRY(text, escaped_text(context_, text));
        }
        if (how.precision) {
          text = part_of(text, 0, character_offset(text.bytes, *how.precision));
        }
        pad(how, text);
        return {};
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return integer(how, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(how, value);
      default:
        return template_error("an unknown conversion in a format");
    }
  }

  void pad(const Conversion& how, const Text& text) {
    const std::size_t length = length_in_characters(text.bytes);
    const std::string filler(how.width > length ? how.width - length : 0, ' ');
    if (!how.left) {
      out_.add(filler);
    }
    out_.add(text);
    if (how.left) {
      out_.add(filler);
    }
  }

  // Sign, prefix and zeros around digits without sign.
  void number_text(const Conversion& how, bool negative, std::string prefix, std::string digits) {
    prefix.insert(0, negative ? "-" : (how.plus ? "+" : (how.space ? " " : "")));
    if (how.zero && !how.left && prefix.size() + digits.size() < how.width) {
      digits.insert(0, how.width - prefix.size() - digits.size(), '0');
    }
    pad(how, own_text(prefix + digits));
  }

  Result<void> integer(const Conversion& how, const Value& value) {
    Int number = 0;
    if (const double* d = value.get<double>();
        d != nullptr && std::string_view("diu").contains(how.type) && *d > -1e18 && *d < 1e18) {
      number = static_cast<Int>(*d);
    } else {
      GENESIS_TRY(number, need_int(value, "a value formatted as an integer"));
    }
    const bool negative = number < 0;
    const Int base = how.type == 'x' || how.type == 'X' ? 16 : (how.type == 'o' ? 8 : 10);
    const std::string_view symbols = how.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string digits;
    do {
      const Int digit = number % base;
      digits.push_back(symbols[static_cast<std::size_t>(digit < 0 ? -digit : digit)]);
      number /= base;
    } while (number != 0);
    if (how.precision && digits.size() < *how.precision) {
      digits.append(*how.precision - digits.size(), '0');
    }
    std::ranges::reverse(digits);
    const bool prefixed = how.alternate && base != 10;
    number_text(how, negative, prefixed ? std::string("0") + how.type : std::string(), digits);
    return {};
  }

  Result<void> real(const Conversion& how, const Value& value) {
    double number = 0;
    if (const double* d = value.get<double>()) {
      number = *d;
    } else {
      GENESIS_TRY(const Int whole, need_int(value, "a value formatted as a float"));
      number = static_cast<double>(whole);
    }
    const bool negative = number < 0 || (number == 0 && 1 / number < 0);
    const std::string spec = fmt::format("%.{}{}", how.precision.value_or(6), how.type);
    // %f of 1e308 with a precision of kMaxWidth.
    std::array<char, 320 + kMaxWidth> buffer{};
    std::snprintf(buffer.data(), buffer.size(), spec.c_str(), negative ? -number : number);
    number_text(how, negative, {}, buffer.data());
    return {};
  }

  Context& context_;
  const Text& pattern_;
  const Value& values_;
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  TextBuilder out_;
};

// How far the fields without a number have come, and which kinds of field there were.
struct Numbering {
  std::size_t next = 0;
  bool automatic = false;
  bool manual = false;
};

// One replacement field without its braces.
class BraceField {
 public:
  BraceField(Context& context, std::string_view field) : context_(context), field_(field) {}

  Result<Text> fill(const Arguments& arguments, Numbering& numbering) {
    const std::size_t mark = field_.find_first_of("!:");
    const std::string_view path = field_.substr(0, mark);
    const std::string_view tail =
        mark == std::string_view::npos ? std::string_view() : field_.substr(mark);
    if (!tail.empty() && tail != "!s" && tail != "!r" && tail != ":") {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("format field '{{{}}}' is not supported", field_));
    }
    GENESIS_TRY(const Value value, resolve(path, arguments, numbering));
    return tail == "!r" ? to_repr(context_, value) : to_str(context_, value);
  }

 private:
  Result<Value> resolve(std::string_view path, const Arguments& arguments, Numbering& numbering) {
    const std::size_t end = std::min(path.find_first_of(".["), path.size());
    GENESIS_TRY(Value value, argument(path.substr(0, end), arguments, numbering));
    path.remove_prefix(end);
    while (!path.empty()) {
      const bool in_brackets = path.front() == '[';
      const std::size_t close = in_brackets ? path.find(']') : path.find_first_of(".[", 1);
      if (in_brackets && close == std::string_view::npos) {
        return template_error("expected ']' in a format field");
      }
      const std::string_view name = path.substr(1, std::min(close, path.size()) - 1);
      const auto index = parse_int(name);
      if (in_brackets) {
        GENESIS_TRY(value,
                    item(context_, value, index ? Value::integer(*index) : Value::text(name)));
      } else {
        GENESIS_TRY(value, attribute(context_, value, name));
      }
      path.remove_prefix(std::min(close + (in_brackets ? 1U : 0U), path.size()));
    }
    return value;
  }

  static Result<Value> argument(std::string_view name,
                                const Arguments& arguments,
                                Numbering& numbering) {
    const auto index = parse_int(name);
    if (name.empty() || index) {
      (name.empty() ? numbering.automatic : numbering.manual) = true;
      if (numbering.automatic && numbering.manual) {
        return template_error("a format numbers its fields either all or none");
      }
      const std::size_t at = name.empty() ? numbering.next++ : static_cast<std::size_t>(*index);
      if (at >= arguments.positional.size()) {
        return template_error("a format field has no argument");
      }
      return arguments.positional[at];
    }
    for (const auto& [known, value] : arguments.named) {
      if (known == name) {
        return value;
      }
    }
    return template_error(fmt::format("format has no argument '{}'", name));
  }

  Context& context_;
  std::string_view field_;
};

}  // namespace

Result<Value> percent_format(Context& context, const Text& pattern, const Value& values) {
  return PercentFormatter(context, pattern, values).run();
}

Result<Value> brace_format(Context& context, const Text& pattern, const Arguments& arguments) {
  const std::string_view bytes = pattern.bytes;
  TextBuilder out;
  Numbering numbering;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    out.add_part(pattern, at, brace);
    at = brace;
    if (at == bytes.size()) {
      break;
    }
    if (at + 1 < bytes.size() && bytes[at + 1] == bytes[at]) {
      out.add_part(pattern, at, at + 1);
      at += 2;
      continue;
    }
    const std::size_t close = bytes.find('}', at);
    if (bytes[at] == '}' || close == std::string_view::npos) {
      return template_error("a single brace in a format string");
    }
    BraceField field(context, bytes.substr(at + 1, close - at - 1));
    GENESIS_TRY(Text text, field.fill(arguments, numbering));
    if (pattern.markup && !text.markup) {
      GENESIS_TRY(text, escaped_text(context, text));
    }
    GENESIS_TRY_VOID(context.spend(1 + text.bytes.size() / 256));
    out.add(text);
    if (out.size() > context.limits().output_bytes) {
      return context.too_long();
    }
    at = close + 1;
  }
  Text made = out.take();
  made.markup = pattern.markup;
  return context.text(std::move(made));
}

}  // namespace genesis::text::jinja
