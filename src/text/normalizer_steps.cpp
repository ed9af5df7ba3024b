#include "text/normalizer_steps.h"

#include "text/old_unicode.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace genesis::text {

namespace {

// Leaves out the characters for which `keep` says no, passes the others through `map`.
template <typename Keep, typename Map>
void filter(AlignedText& text, Keep keep, Map map) {
  const std::string old = text.text;
  std::size_t skipped = 0;  // left out at the front
  int removed = 0;          // left out since `last`
  std::optional<char32_t> last;
  std::vector<std::pair<char32_t, int>> changes;
  changes.reserve(old.size());
  for (std::size_t at = 0; at < old.size();) {
    const CodePoint point = decode_valid(old, at);
    at += point.bytes;
    if (!keep(point.value)) {
      ++removed;
      continue;
    }
    if (last) {
      changes.emplace_back(*last, -removed);
    } else {
      skipped = static_cast<std::size_t>(removed);
    }
    last = map(point.value);
    removed = 0;
  }
  if (last) {
    changes.emplace_back(*last, -removed);
  }
  Rewriter writer(text, skipped);
  for (const auto& [c, change] : changes) {
    writer.put(c, change);
  }
  writer.finish();
}

char32_t same(char32_t c) {
  return c;
}

}  // namespace

void Prepend::apply(AlignedText& text) const {
  if (!text.text.empty()) {
    text.prepend(what_);
  }
}

void Replace::apply(AlignedText& text) const {
  std::vector<Match> matches;
  finder_.find_all(text.text, matches);
  if (matches.empty()) {
    return;
  }
  std::string out;
  std::vector<Origin> origin;
  out.reserve(text.text.size() + matches.size() * with_.size());
  std::size_t done = 0;
  const auto keep_until = [&](std::size_t end) {
    out.append(text.text, done, end - done);
    if (text.tracked) {
      origin.insert(origin.end(),
                    text.origin.begin() + static_cast<std::ptrdiff_t>(done),
                    text.origin.begin() + static_cast<std::ptrdiff_t>(end));
    }
  };
  for (const Match& match : matches) {
    keep_until(match.begin);
    out += with_;
    if (text.tracked) {
      const auto base = static_cast<std::uint32_t>(text.base);
      const Origin from = match.end == 0 ? Origin{base, base} : text.origin[match.end - 1];
      origin.insert(origin.end(), with_.size(), from);
    }
    done = match.end;
  }
  keep_until(text.text.size());
  text.text = std::move(out);
  text.origin = std::move(origin);
}

void Strip::apply(AlignedText& text) const {
  const std::string_view old = text.text;
  const auto is_space = [&](std::size_t at) {
    return (table_->flags(decode_valid(old, at).value) & kSpace) != 0;
  };
  std::size_t begin = 0;
  std::size_t end = old.size();
  while (ends_.left && begin < end && is_space(begin)) {
    begin += decode_valid(old, begin).bytes;
  }
  while (ends_.right && end > begin && is_space(previous_start(old, end))) {
    end = previous_start(old, end);
  }
  text.text.erase(end);
  text.text.erase(0, begin);
  if (text.tracked) {
    text.origin.erase(text.origin.begin() + static_cast<std::ptrdiff_t>(end), text.origin.end());
    text.origin.erase(text.origin.begin(),
                      text.origin.begin() + static_cast<std::ptrdiff_t>(begin));
  }
}

void StripMarks::apply(AlignedText& text) const {
  if (which_ == Which::kCombining) {
    filter(text, [](char32_t c) { return !is_combining_mark(c); }, same);
  } else {
    filter(text, [](char32_t c) { return !is_nonspacing_mark(c); }, same);
  }
}

void Lowercase::apply(AlignedText& text) const {
  const std::string old = text.text;
  Rewriter writer(text);
  for (std::size_t at = 0; at < old.size();) {
    const CodePoint point = decode_valid(old, at);
    at += point.bytes;
    writer.put(lowercase_of(point.value), 0);
    if (point.value == 0x130) {
      writer.put(0x307, 1);
    }
  }
  writer.finish();
}

void Nmt::apply(AlignedText& text) const {
  // github.com/google/sentencepiece, src/builder.cc, BuildNmtNFKCMap.
  const auto keep = [](char32_t c) {
    return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
             c == 0x9F);
  };
  const auto map = [](char32_t c) -> char32_t {
    constexpr std::u32string_view kSpaces =
        U"\x09\x0A\x0C\x0D\u1680\u200B\u200C\u200D\u200E\u200F\u2028\u2029\u2581\uFEFF\uFFFD";
    return kSpaces.contains(c) ? U' ' : c;
  };
  filter(text, keep, map);
}

void BytesToText::apply(AlignedText& text) const {
  const std::string old = text.text;
  Rewriter writer(text);
  for (const char c : old) {
    const auto byte = static_cast<unsigned char>(c);
    writer.put(alphabet_.character(byte), (byte & 0xC0) == 0x80 ? 1 : 0);
  }
  writer.finish();
}

void BertClean::apply(AlignedText& text) const {
  filter(
      text,
      [](char32_t c) { return !is_removed_by_bert(c); },
      [&](char32_t c) { return (table_->flags(c) & kSpace) != 0 ? U' ' : c; });
}

void SpaceIdeographs::apply(AlignedText& text) const {
  const std::string old = text.text;
  Rewriter writer(text);
  for (std::size_t at = 0; at < old.size();) {
    const CodePoint point = decode_valid(old, at);
    at += point.bytes;
    if (is_cjk(point.value)) {
      writer.put(' ', 0);
      writer.put(point.value, 1);
      writer.put(' ', 1);
    } else {
      writer.put(point.value, 0);
    }
  }
  writer.finish();
}

std::optional<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) {
    text.remove_suffix(1);
  }
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) {
      return std::nullopt;
    }
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFFF;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return out;
}

}  // namespace genesis::text
