#include "text/jinja/print.h"

#include "text/jinja/order.h"
#include "text/unicode.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace genesis::text::jinja {

std::string int_to_string(Int value) {
  std::string out;
  const bool negative = value < 0;
  do {
    const auto digit = static_cast<int>(value % 10);
    out.push_back(static_cast<char>('0' + (digit < 0 ? -digit : digit)));
    value /= 10;
  } while (value != 0);
  if (negative) {
    out.push_back('-');
  }
  std::ranges::reverse(out);
  return out;
}

// Python writes an exponent below 1e-4 and from 1e16 on (float_repr_style 'short').
std::string float_repr(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value < 0 ? "-inf" : "inf";
  }
  std::array<char, 64> buffer{};
  const auto scientific = std::to_chars(
      buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  std::string_view digits(buffer.data(), static_cast<std::size_t>(scientific.ptr - buffer.data()));
  const std::size_t mark = digits.find('e');
  int exponent = 0;
  const bool plus = digits[mark + 1] == '+';
  std::from_chars(digits.data() + mark + (plus ? 2 : 1), digits.data() + digits.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    return std::string(digits);
  }
  std::array<char, 64> fixed{};
  const auto end =
      std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string out(fixed.data(), end.ptr);
  return out.contains('.') ? out : out + ".0";
}

namespace {

// Other than ASCII: Python's str.isprintable, which repr() goes by.
bool is_printable(char32_t c) {
  if (c < 0x80) {
    return c >= 0x20 && c < 0x7F;
  }
  constexpr std::uint32_t kNot = U_GC_C_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & kNot) == 0;
}

class Printer {
 public:
  Printer(Context& context, const JsonStyle& style) : context_(context), style_(style) {}

  Result<void> repr(const Value& value) {
    if (const Text* text = value.as_text()) {
      quote_for_repr(*text);
      return check();
    }
    if (const List* list = value.as_list()) {
      return repr_list(*list);
    }
    if (const Dict* dict = value.as_dict()) {
      return repr_dict(*dict);
    }
    out_.add(scalar(value));
    return check();
  }

  // What needs no recursion.
  static std::string scalar(const Value& value) {
    if (value.is<None>()) {
      return "None";
    }
    if (const bool* b = value.get<bool>()) {
      return *b ? "True" : "False";
    }
    if (const Int* i = value.get<Int>()) {
      return int_to_string(*i);
    }
    if (const double* d = value.get<double>()) {
      return float_repr(*d);
    }
    return value.is_undefined() ? "Undefined" : fmt::format("<{}>", type_name(value));
  }

  Result<void> json(const Value& value, std::size_t level) {
    if (const Text* text = value.as_text()) {
      quote_for_json(*text);
      return check();
    }
    if (const List* list = value.as_list()) {
      return json_list(*list, level);
    }
    if (const Dict* dict = value.as_dict()) {
      return json_dict(*dict, level);
    }
    if (!value.is<None>() && !value.is_number()) {
      return template_error(
          fmt::format("a value of type {} cannot be written as JSON", type_name(value)));
    }
    out_.add(json_scalar(value));
    return check();
  }

  Text take() { return out_.take(); }

 private:
  Result<void> check() const {
    if (out_.size() > context_.limits().output_bytes) {
      return fail(ErrorCode::kResourceExhausted,
                  fmt::format("the chat template made a text of more than {} bytes",
                              context_.limits().output_bytes));
    }
    return {};
  }

  Result<void> repr_list(const List& list) {
    out_.add(list.tuple ? "(" : "[");
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      out_.add(i == 0 ? "" : ", ");
      GENESIS_TRY_VOID(repr(list.items[i]));
    }
    out_.add(list.tuple ? (list.items.size() == 1 ? ",)" : ")") : "]");
    return {};
  }

  Result<void> repr_dict(const Dict& dict) {
    out_.add("{");
    for (std::size_t i = 0; i < dict.items.size(); ++i) {
      out_.add(i == 0 ? "" : ", ");
      GENESIS_TRY_VOID(repr(dict.items[i].first));
      out_.add(": ");
      GENESIS_TRY_VOID(repr(dict.items[i].second));
    }
    out_.add("}");
    return {};
  }

  // Copies `text` with some characters replaced, keeping track of foreign bytes.
  template <typename Escape>
  void add_escaped(const Text& text, Escape escape) {
    const std::string_view bytes = text.bytes;
    std::size_t span = 0;
    std::size_t copied = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const CodePoint point = decode_valid(bytes, at);
      const std::string replaced = escape(point.value);
      if (!replaced.empty()) {
        out_.add_part(text, copied, at);
        while (span < text.marks.size() && text.marks[span].end <= at) {
          ++span;
        }
        const bool marked = span < text.marks.size() && text.marks[span].begin <= at;
        out_.add(replaced, marked ? text.marks[span].origin : Origin{});
        copied = at + point.bytes;
      }
      at += point.bytes;
    }
    out_.add_part(text, copied, bytes.size());
  }

  // Single quotes, unless only double ones avoid an escape.
  void quote_for_repr(const Text& text) {
    out_.add(text.markup ? "Markup(" : "");
    const bool doubles = text.bytes.contains('\'') && !text.bytes.contains('"');
    const char32_t quote = doubles ? '"' : '\'';
    out_.add(doubles ? "\"" : "'");
    add_escaped(text, [&](char32_t c) -> std::string {
      switch (c) {
        case '\n':
          return "\\n";
        case '\r':
          return "\\r";
        case '\t':
          return "\\t";
        case '\\':
          return "\\\\";
        default:
          break;
      }
      const auto number = static_cast<std::uint32_t>(c);
      if (c == quote) {
        return fmt::format("\\{}", static_cast<char>(c));
      }
      if (is_printable(c)) {
        return {};
      }
      return c < 0x100 ? fmt::format("\\x{:02x}", number)
                       : (c < 0x10000 ? fmt::format("\\u{:04x}", number)
                                      : fmt::format("\\U{:08x}", number));
    });
    out_.add(doubles ? "\"" : "'");
    out_.add(text.markup ? ")" : "");
  }

  void quote_for_json(const Text& text) {
    out_.add("\"");
    add_escaped(text, [&](char32_t c) -> std::string {
      constexpr std::string_view kPlain = "\"\\\n\r\t\f\b";
      constexpr std::string_view kLetters = "\"\\nrtfb";
      if (c < 0x80) {
        const std::size_t known = kPlain.find(static_cast<char>(c));
        if (known != std::string_view::npos) {
          return fmt::format("\\{}", kLetters[known]);
        }
      }
      const auto number = static_cast<std::uint32_t>(c);
      if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c != 0x7F && c < 0x10000)) {
        return fmt::format("\\u{:04x}", number);
      }
      if (style_.ensure_ascii && c >= 0x10000) {
        return fmt::format("\\u{:04x}\\u{:04x}",
                           0xD800 + ((number - 0x10000) >> 10),
                           0xDC00 + ((number - 0x10000) & 0x3FF));
      }
      return {};
    });
    out_.add("\"");
  }

  static std::string json_scalar(const Value& value) {
    if (value.is<None>()) {
      return "null";
    }
    if (const bool* b = value.get<bool>()) {
      return *b ? "true" : "false";
    }
    if (const double* d = value.get<double>(); d != nullptr && !std::isfinite(*d)) {
      return std::isnan(*d) ? "NaN" : (*d < 0 ? "-Infinity" : "Infinity");
    }
    return scalar(value);
  }

  void new_line(std::size_t level) {
    if (style_.indent) {
      out_.add("\n");
      for (std::size_t i = 0; i < level; ++i) {
        out_.add(*style_.indent);
      }
    }
  }

  Result<void> json_list(const List& list, std::size_t level) {
    if (list.items.empty()) {
      out_.add("[]");
      return {};
    }
    out_.add("[");
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      out_.add(i == 0 ? std::string_view() : style_.item_separator);
      new_line(level + 1);
      GENESIS_TRY_VOID(json(list.items[i], level + 1));
    }
    new_line(level);
    out_.add("]");
    return {};
  }

  Result<void> json_dict(const Dict& dict, std::size_t level) {
    if (dict.items.empty()) {
      out_.add("{}");
      return {};
    }
    std::vector<std::size_t> order(dict.items.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
    }
    if (style_.sort_keys) {
      GENESIS_TRY(order, sorted_order(context_, dict_keys(dict), false));
    }
    out_.add("{");
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto& [key, value] = dict.items[order[i]];
      out_.add(i == 0 ? std::string_view() : style_.item_separator);
      new_line(level + 1);
      GENESIS_TRY_VOID(json_key(key));
      out_.add(style_.key_separator);
      GENESIS_TRY_VOID(json(value, level + 1));
    }
    new_line(level);
    out_.add("}");
    return {};
  }

  static std::vector<Value> dict_keys(const Dict& dict) {
    std::vector<Value> keys;
    for (const auto& entry : dict.items) {
      keys.push_back(entry.first);
    }
    return keys;
  }

  Result<void> json_key(const Value& key) {
    if (const Text* text = key.as_text()) {
      quote_for_json(*text);
      return check();
    }
    if (!key.is<None>() && !key.is_number()) {
      return template_error(
          fmt::format("a dict with a key of type {} cannot be written as JSON", type_name(key)));
    }
    out_.add(fmt::format("\"{}\"", json_scalar(key)));
    return {};
  }

  Context& context_;
  const JsonStyle& style_;
  TextBuilder out_;
};

}  // namespace

Result<Text> to_str(Context& context, const Value& value) {
  if (const Text* text = value.as_text()) {
    return *text;
  }
  if (value.is_undefined()) {
    return Text();
  }
  return to_repr(context, value);
}

Result<Text> to_repr(Context& context, const Value& value) {
  GENESIS_TRY_VOID(context.spend_for(value));
  const JsonStyle style;
  Printer printer(context, style);
  GENESIS_TRY_VOID(printer.repr(value));
  return printer.take();
}

Result<Text> to_json(Context& context, const Value& value, const JsonStyle& style) {
  GENESIS_TRY_VOID(context.spend_for(value));
  Printer printer(context, style);
  GENESIS_TRY_VOID(printer.json(value, 0));
  return printer.take();
}

}  // namespace genesis::text::jinja
