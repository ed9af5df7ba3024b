#include "text/aligned_text.h"

#include "text/unicode.h"

#include <algorithm>
#include <utility>

namespace genesis::text {

Piece Piece::slice(std::size_t begin, std::size_t end) const {
  const std::string_view part = text.substr(begin, end - begin);
  if (origin == nullptr) {
    return {part, nullptr, base + begin};
  }
  return {part, origin + begin, begin < end ? origin[begin].begin : base};
}

AlignedText AlignedText::copy_of(const Piece& piece) {
  AlignedText out;
  out.text = piece.text;
  out.base = piece.base;
  out.tracked = piece.origin != nullptr;
  if (out.tracked) {
    out.origin.assign(piece.origin, piece.origin + piece.text.size());
  }
  return out;
}

void AlignedText::prepend(std::string_view what) {
  text.insert(0, what);
  if (tracked) {
    origin.insert(origin.begin(), what.size(), origin.front());
  }
}

std::vector<Origin> origins_of(std::string_view text) {
  std::vector<Origin> out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at + decode_valid(text, at).bytes;
    const Origin whole{static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)};
    out.insert(out.end(), end - at, whole);
    at = end;
  }
  return out;
}

Rewriter::Rewriter(AlignedText& text, std::size_t skipped) : old_(text) {
  text_.reserve(text.text.size());
  if (text.tracked) {
    origin_.reserve(text.text.size());
  }
  for (std::size_t i = 0; i < skipped; ++i) {
    at_ += character_at(at_);
  }
}

std::size_t Rewriter::character_at(std::size_t at) const {
  return at < old_.text.size() ? decode_valid(old_.text, at).bytes : 0;
}

void Rewriter::put(char32_t c, int change) {
  const std::size_t before = text_.size();
  append_utf8(text_, c);
  if (!old_.tracked) {
    return;
  }
  const auto base = static_cast<std::uint32_t>(old_.base);
  Origin from{base, base};
  if (change > 0) {
    from = at_ == 0 ? from : old_.origin[at_ - 1];
  } else {
    from = at_ < old_.origin.size() ? old_.origin[at_] : from;
    at_ += character_at(at_);
  }
  for (; change < 0; ++change) {
    at_ += character_at(at_);
  }
  origin_.insert(origin_.end(), text_.size() - before, from);
}

void Rewriter::finish() {
  old_.text = std::move(text_);
  old_.origin = std::move(origin_);
}

}  // namespace genesis::text
