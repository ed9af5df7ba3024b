#include "text/gpt_split.h"

#include <array>

namespace genesis::text {

namespace {

// The kinds these patterns tell apart; 0 is "everything else": punctuation, symbols, marks.
constexpr std::uint8_t kKinds = kLetter | kNumber | kSpace;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Length of 's 't 're 've 'm 'll 'd at `at`, which holds the apostrophe; 0 if there is none.
std::size_t contraction_bytes(std::string_view text, std::size_t at, bool any_case) {
  const auto letter = [&](std::size_t i) {
    const char c = at + i < text.size() ? text[at + i] : '\0';
    return any_case ? lower(c) : c;
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return letter(2) == 'e' ? 3 : 0;
    case 'l':
      return letter(2) == 'l' ? 3 : 0;
    default:
      break;
  }
  // U+017F, the long s, is 's' when case does not count.
  return any_case && text.substr(at + 1).starts_with("\xC5\xBF") ? 3 : 0;
}

bool is_line_break(char c) {
  return c == '\r' || c == '\n';
}

}  // namespace

std::optional<GptSplit> GptSplit::for_pattern(std::string_view pattern,
                                              std::shared_ptr<const CharTable> table) {
  if (pattern == kGpt2Pattern) {
    return GptSplit(Family::kGpt2, 0, std::move(table));
  }
  if (pattern == kLlama3Pattern) {
    return GptSplit(Family::kCl100k, 3, std::move(table));
  }
  if (pattern == kQwen2Pattern) {
    return GptSplit(Family::kCl100k, 1, std::move(table));
  }
  return std::nullopt;
}

void GptSplit::find_all(std::string_view text, std::vector<Match>& out) const {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = family_ == Family::kGpt2 ? gpt2_end(text, at) : cl100k_end(text, at);
    out.push_back({at, end});
    at = end;
  }
}

// End of the run of characters of one kind that starts at `at`.
std::size_t GptSplit::run_end(std::string_view text, std::size_t at, std::uint8_t kind) const {
  while (at < text.size()) {
    const CodePoint point = decode_valid(text, at);
    if ((table_->flags(point.value) & kKinds) != kind) {
      break;
    }
    at += point.bytes;
  }
  return at;
}

// `\s+(?!\S)|\s+`: the whole run at the end of the text, else all but its last character, but at
// least one.
std::size_t GptSplit::white_space_end(std::string_view text, std::size_t at) const {
  const std::size_t end = run_end(text, at, kSpace);
  if (end == text.size()) {
    return end;
  }
  const std::size_t last = previous_start(text, end);
  return last == at ? end : last;
}

std::size_t GptSplit::gpt2_end(std::string_view text, std::size_t at) const {
  if (text[at] == '\'') {
    if (const std::size_t bytes = contraction_bytes(text, at, false); bytes != 0) {
      return at + bytes;
    }
  }
  const std::size_t start = at + (text[at] == ' ' ? 1U : 0U);
  if (start < text.size()) {
    const std::uint8_t kind = table_->flags(decode_valid(text, start).value) & kKinds;
    if (kind != kSpace) {
      return run_end(text, start, kind);
    }
  }
  return white_space_end(text, at);
}

std::size_t GptSplit::cl100k_end(std::string_view text, std::size_t at) const {
  if (text[at] == '\'') {
    if (const std::size_t bytes = contraction_bytes(text, at, true); bytes != 0) {
      return at + bytes;
    }
  }
  const CodePoint first = decode_valid(text, at);
  const std::uint8_t kind = table_->flags(first.value) & kKinds;
  if (kind == kNumber) {
    std::size_t end = at;
    for (std::size_t n = 0; n < most_digits_ && end < text.size(); ++n) {
      const CodePoint point = decode_valid(text, end);
      if ((table_->flags(point.value) & kKinds) != kNumber) {
        break;
      }
      end += point.bytes;
    }
    return end;
  }
  const std::size_t second = at + first.bytes;
  const bool line_break = is_line_break(text[at]);
  if (kind == kLetter) {
    return run_end(text, second, kLetter);
  }
  if (!line_break && second < text.size() &&
      (table_->flags(decode_valid(text, second).value) & kKinds) == kLetter) {
    return run_end(text, second, kLetter);
  }
  const std::size_t start = text[at] == ' ' ? second : at;
  if (start < text.size() && (table_->flags(decode_valid(text, start).value) & kKinds) == 0) {
    std::size_t end = run_end(text, start, 0);
    while (end < text.size() && is_line_break(text[end])) {
      ++end;
    }
    return end;
  }
  // `\s*[\r\n]+`: up to the last line break of the run.
  const std::size_t run = run_end(text, at, kSpace);
  for (std::size_t end = run; end > at; --end) {
    if (is_line_break(text[end - 1])) {
      return end;
    }
  }
  return white_space_end(text, at);
}

}  // namespace genesis::text
