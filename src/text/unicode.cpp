#include "text/unicode.h"

#include "text/unicode_data.h"

#include <algorithm>

namespace genesis::text {

namespace {

constexpr std::size_t kCodePoints = 0x110000;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

void append_utf8(std::string& out, char32_t value) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

CharTable::CharTable() : flags_(kCodePoints) {
  const std::span<const std::uint32_t> runs = class_runs();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::size_t end = i + 1 < runs.size() ? runs[i + 1] >> 8 : kCodePoints;
    std::fill(flags_.begin() + static_cast<std::ptrdiff_t>(runs[i] >> 8),
              flags_.begin() + static_cast<std::ptrdiff_t>(end),
              static_cast<std::uint8_t>(runs[i] & 0xFF));
  }
}

// Table 3-7 of the Unicode standard: which second byte each lead byte allows.
Utf8Step utf8_step(std::string_view text) {
  using Kind = Utf8Step::Kind;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return {1, Kind::kCharacter};
  }
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    low = lead == 0xE0 ? 0xA0 : 0x80;
    high = lead == 0xED ? 0x9F : 0xBF;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    low = lead == 0xF0 ? 0x90 : 0x80;
    high = lead == 0xF4 ? 0x8F : 0xBF;
  } else {
    return {1, Kind::kInvalid};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) {
      return {i, Kind::kIncomplete};
    }
    if (byte(i) < low || byte(i) > high) {
      return {i, Kind::kInvalid};
    }
    low = 0x80;
    high = 0xBF;
  }
  return {length, Kind::kCharacter};
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    if (step.kind != Utf8Step::Kind::kCharacter) {
      return false;
    }
    at += step.bytes;
  }
  return true;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::vector<PlainSpan> moved;
  return to_valid_utf8(bytes, {}, moved);
}

std::string to_valid_utf8(std::string_view bytes,
                          std::span<const PlainSpan> spans,
                          std::vector<PlainSpan>& moved) {
  std::string out;
  out.reserve(bytes.size());
  moved.assign(spans.begin(), spans.end());
  // Borders of the spans in order: begin 0, end 0, begin 1, ...
  const auto border = [&](std::size_t i) -> std::size_t& {
    return i % 2 == 0 ? moved[i / 2].begin : moved[i / 2].end;
  };
  std::size_t next_border = 0;
  const auto move_borders_up_to = [&](std::size_t at) {
    while (next_border < 2 * moved.size() && border(next_border) <= at) {
      border(next_border++) = out.size();
    }
  };
  for (std::size_t at = 0; at < bytes.size();) {
    move_borders_up_to(at);
    const Utf8Step step = utf8_step(bytes.substr(at));
    out += step.kind == Utf8Step::Kind::kCharacter ? bytes.substr(at, step.bytes) : kReplacement;
    at += step.bytes;
  }
  move_borders_up_to(static_cast<std::size_t>(-1));
  return out;
}

}  // namespace genesis::text
