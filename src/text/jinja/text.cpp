#include "text/jinja/text.h"

#include "text/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>

#include <algorithm>

namespace genesis::text::jinja {

namespace {

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::string mapped(std::string_view text, Casing casing) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  UErrorCode status = U_ZERO_ERROR;
  const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
  if (casing == Casing::kUpper) {
    icu::CaseMap::utf8ToUpper("", 0, piece, sink, nullptr, status);
  } else {
    icu::CaseMap::utf8ToLower("", 0, piece, sink, nullptr, status);
  }
  return U_FAILURE(status) ? std::string(text) : out;
}

// Title case of one character: its own mapping, or the first letter of a longer upper case.
std::string title_of(std::string_view character) {
  const auto value = static_cast<UChar32>(decode_valid(character, 0).value);
  std::string out;
  if (const UChar32 title = u_totitle(value); title != value) {
    append_utf8(out, static_cast<char32_t>(title));
    return out;
  }
  const std::string upper = mapped(character, Casing::kUpper);
  const std::size_t first = decode_valid(upper, 0).bytes;
  return upper.substr(0, first) + mapped(std::string_view(upper).substr(first), Casing::kLower);
}

bool is_cased(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASED) != 0;
}

// Every run of cased characters begins with title case and goes on in lower case; with
// `first_only`, the first character of the text does.
std::string title_case(std::string_view text, bool first_only) {
  if (text.empty()) {
    return {};
  }
  std::string out;
  if (first_only) {
    const std::size_t first = decode_valid(text, 0).bytes;
    return title_of(text.substr(0, first)) + mapped(text.substr(first), Casing::kLower);
  }
  bool after_cased = false;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid(text, at);
    const std::string_view character = text.substr(at, point.bytes);
    out += after_cased ? mapped(character, Casing::kLower) : title_of(character);
    after_cased = is_cased(point.value);
    at += point.bytes;
  }
  return out;
}

}  // namespace

void TextBuilder::mark(std::size_t begin, std::size_t end) {
  if (begin == end) {
    return;
  }
  if (!text_.foreign.empty() && text_.foreign.back().end == begin) {
    text_.foreign.back().end = end;
  } else {
    text_.foreign.push_back({begin, end});
  }
}

void TextBuilder::add(std::string_view bytes, bool foreign) {
  const std::size_t begin = text_.bytes.size();
  text_.bytes += bytes;
  if (foreign) {
    mark(begin, text_.bytes.size());
  }
}

void TextBuilder::add_part(const Text& text, std::size_t begin, std::size_t end) {
  const std::size_t offset = text_.bytes.size();
  text_.bytes.append(text.bytes, begin, end - begin);
  for (const PlainSpan& span : text.foreign) {
    const std::size_t from = std::max(span.begin, begin);
    const std::size_t to = std::min(span.end, end);
    if (from < to) {
      mark(from - begin + offset, to - begin + offset);
    }
  }
}

Text own_text(std::string_view bytes) {
  return {std::string(bytes), {}};
}

Text foreign_text(std::string_view bytes) {
  TextBuilder builder;
  builder.add(bytes, true);
  return builder.take();
}

Text part_of(const Text& text, std::size_t begin, std::size_t end) {
  TextBuilder builder;
  builder.add_part(text, begin, end);
  return builder.take();
}

Text derived(std::string bytes, std::span<const Text* const> inputs) {
  Text out{std::move(bytes), {}};
  const bool foreign = std::ranges::any_of(inputs, [](const Text* t) { return t->is_foreign(); });
  if (foreign && !out.bytes.empty()) {
    out.foreign.push_back({0, out.bytes.size()});
  }
  return out;
}

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::size_t length_in_characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::size_t character_offset(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    at += decode_valid(text, at).bytes;
  }
  return at;
}

PlainSpan stripped(std::string_view text, StripSide side, const std::string_view* chars) {
  const auto goes = [&](std::size_t at) {
    const CodePoint point = decode_valid(text, at);
    return chars == nullptr ? is_python_space(point.value)
                            : chars->contains(text.substr(at, point.bytes));
  };
  PlainSpan left{0, text.size()};
  while (side != StripSide::kRight && left.begin < left.end && goes(left.begin)) {
    left.begin += decode_valid(text, left.begin).bytes;
  }
  while (side != StripSide::kLeft && left.begin < left.end) {
    const std::size_t last = previous_start(text, left.end);
    if (!goes(last)) {
      break;
    }
    left.end = last;
  }
  return left;
}

std::vector<PlainSpan> lines_of(std::string_view text) {
  std::vector<PlainSpan> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid(text, at);
    at += point.bytes;
    if (is_line_end(point.value)) {
      out.push_back({begin, at - point.bytes});
      if (point.value == '\r' && at < text.size() && text[at] == '\n') {
        ++at;
      }
      begin = at;
    }
  }
  if (begin < text.size()) {
    out.push_back({begin, text.size()});
  }
  return out;
}

Text with_case(const Text& text, Casing casing) {
  std::string out;
  switch (casing) {
    case Casing::kUpper:
    case Casing::kLower:
      out = mapped(text.bytes, casing);
      break;
    case Casing::kTitle:
      out = title_case(text.bytes, false);
      break;
    case Casing::kCapitalize:
      out = title_case(text.bytes, true);
      break;
  }
  const bool ascii = std::ranges::all_of(text.bytes, [](char c) { return c >= 0; });
  if (ascii) {
    return {std::move(out), text.foreign};
  }
  const Text* const input = &text;
  return derived(std::move(out), std::span(&input, 1));
}

}  // namespace genesis::text::jinja
