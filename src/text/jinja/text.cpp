#include "text/jinja/text.h"

#include "text/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/edits.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace genesis::text::jinja {

namespace {

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// The start of the change that holds a source index maps to the start of its replacement, so marks,
// which lie between characters, stay exact.
std::vector<Mark> moved_marks(const std::vector<Mark>& marks, const icu::Edits& edits) {
  std::vector<Mark> out;
  auto at = edits.getFineIterator();
  UErrorCode status = U_ZERO_ERROR;
  const auto moved = [&](std::size_t index) {
    return static_cast<std::size_t>(
        at.destinationIndexFromSourceIndex(static_cast<std::int32_t>(index), status));
  };
  for (const Mark& mark : marks) {
    const std::size_t begin = moved(mark.begin);
    const std::size_t end = moved(mark.end);
    if (begin < end) {
      out.push_back({begin, end, mark.origin});
    }
  }
  return out;
}

Text mapped(const Text& text, Casing casing) {
  Text out;
  icu::StringByteSink<std::string> sink(&out.bytes);
  UErrorCode status = U_ZERO_ERROR;
  icu::Edits edits;
  const icu::StringPiece piece(text.bytes.data(), static_cast<std::int32_t>(text.bytes.size()));
  if (casing == Casing::kUpper) {
    icu::CaseMap::utf8ToUpper("", 0, piece, sink, &edits, status);
  } else {
    icu::CaseMap::utf8ToLower("", 0, piece, sink, &edits, status);
  }
  if (U_FAILURE(status)) {
    return text;
  }
  out.marks = moved_marks(text.marks, edits);
  return out;
}

// Title case of one character: its own mapping, or the first letter of a longer upper case.
Text title_of(const Text& character) {
  const auto value = static_cast<UChar32>(decode_valid(character.bytes, 0).value);
  if (const UChar32 title = u_totitle(value); title != value) {
    std::string out;
    append_utf8(out, static_cast<char32_t>(title));
    return derived(std::move(out), character);
  }
  const Text upper = mapped(character, Casing::kUpper);
  const std::size_t first = decode_valid(upper.bytes, 0).bytes;
  TextBuilder out;
  out.add_part(upper, 0, first);
  out.add(mapped(part_of(upper, first, upper.bytes.size()), Casing::kLower));
  return out.take();
}

bool is_cased(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASED) != 0;
}

// Every run of cased characters begins with title case and goes on in lower case; with
// `first_only`, the first character of the text does.
Text title_case(const Text& text, bool first_only) {
  TextBuilder out;
  const std::size_t size = text.bytes.size();
  if (first_only && size > 0) {
    const std::size_t first = decode_valid(text.bytes, 0).bytes;
    out.add(title_of(part_of(text, 0, first)));
    out.add(mapped(part_of(text, first, size), Casing::kLower));
    return out.take();
  }
  bool after_cased = false;
  for (std::size_t at = 0; at < size;) {
    const CodePoint point = decode_valid(text.bytes, at);
    const Text character = part_of(text, at, at + point.bytes);
    out.add(after_cased ? mapped(character, Casing::kLower) : title_of(character));
    after_cased = is_cased(point.value);
    at += point.bytes;
  }
  return out.take();
}

}  // namespace

void TextBuilder::mark(std::size_t begin, std::size_t end, const Origin& origin) {
  if (begin == end || (!origin.foreign && !origin.generated)) {
    return;
  }
  if (!text_.marks.empty() && text_.marks.back().end == begin &&
      text_.marks.back().origin == origin) {
    text_.marks.back().end = end;
  } else {
    text_.marks.push_back({begin, end, origin});
  }
}

void TextBuilder::add(std::string_view bytes, const Origin& origin) {
  const std::size_t begin = text_.bytes.size();
  text_.bytes += bytes;
  mark(begin, text_.bytes.size(), origin);
}

void TextBuilder::add_part(const Text& text, std::size_t begin, std::size_t end) {
  const std::size_t offset = text_.bytes.size();
  text_.bytes.append(text.bytes, begin, end - begin);
  const auto first = std::ranges::upper_bound(text.marks, begin, {}, &Mark::end);
  for (auto at = first; at != text.marks.end() && at->begin < end; ++at) {
    const std::size_t from = std::max(at->begin, begin);
    const std::size_t to = std::min(at->end, end);
    mark(from - begin + offset, to - begin + offset, at->origin);
  }
}

Text own_text(std::string_view bytes) {
  return {.bytes = std::string(bytes)};
}

Text text_from(std::string_view bytes, const Origin& origin) {
  TextBuilder builder;
  builder.add(bytes, origin);
  return builder.take();
}

Text part_of(const Text& text, std::size_t begin, std::size_t end) {
  TextBuilder builder;
  builder.add_part(text, begin, end);
  Text out = builder.take();
  out.markup = text.markup;
  return out;
}

Text as_generated(const Text& text) {
  TextBuilder out;
  const std::string_view bytes = text.bytes;
  std::size_t at = 0;
  for (const Mark& mark : text.marks) {
    out.add(bytes.substr(at, mark.begin - at), {.generated = true});
    Origin origin = mark.origin;
    origin.generated = true;
    out.add(bytes.substr(mark.begin, mark.end - mark.begin), origin);
    at = mark.end;
  }
  out.add(bytes.substr(at), {.generated = true});
  return out.take();
}

Text derived(std::string bytes, const Text& input) {
  const auto foreign =
      std::ranges::find_if(input.marks, [](const Mark& m) { return m.origin.foreign; });
  return text_from(bytes, foreign == input.marks.end() ? Origin{} : foreign->origin);
}

std::size_t find_in(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) {
    return std::string_view::npos;
  }
  if (part.empty()) {
    return from;
  }
  // glibc's memmem is the two-way algorithm; std::string_view::find is quadratic at worst.
  const void* const found =
      memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t rfind_in(std::string_view text, std::string_view part) {
  constexpr std::size_t kShort = 16;
  if (part.size() <= kShort) {
    return text.rfind(part);
  }
  // Knuth-Morris-Pratt from the right: border[n] is the longest proper border of the last n bytes.
  const std::size_t size = part.size();
  std::vector<std::uint32_t> border(size + 1);
  const auto from_right = [](std::string_view view, std::size_t i) {
    return view[view.size() - 1 - i];
  };
  std::size_t matched = 0;
  for (std::size_t i = 1; i < size; ++i) {
    while (matched > 0 && from_right(part, i) != from_right(part, matched)) {
      matched = border[matched];
    }
    matched += from_right(part, i) == from_right(part, matched) ? 1U : 0U;
    border[i + 1] = static_cast<std::uint32_t>(matched);
  }
  matched = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    while (matched > 0 && from_right(text, i) != from_right(part, matched)) {
      matched = border[matched];
    }
    matched += from_right(text, i) == from_right(part, matched) ? 1U : 0U;
    if (matched == size) {
      return text.size() - 1 - i;
    }
  }
  return std::string_view::npos;
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
  std::unordered_set<char32_t> members;
  for (std::size_t at = 0; chars != nullptr && at < chars->size();) {
    const CodePoint point = decode_valid(*chars, at);
    members.insert(point.value);
    at += point.bytes;
  }
  const auto goes = [&](std::size_t at) {
    const char32_t value = decode_valid(text, at).value;
    return chars == nullptr ? is_python_space(value) : members.contains(value);
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

std::vector<PlainSpan> lines_of(std::string_view text, std::size_t most) {
  std::vector<PlainSpan> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size() && out.size() <= most;) {
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
  Text out = casing == Casing::kTitle || casing == Casing::kCapitalize
                 ? title_case(text, casing == Casing::kCapitalize)
                 : mapped(text, casing);
  out.markup = text.markup;
  return out;
}

}  // namespace genesis::text::jinja
