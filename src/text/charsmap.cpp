#include "text/charsmap.h"

#include "text/unicode.h"

#include <cstring>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxBlob = 64 * 1024 * 1024;

bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}

std::uint32_t label(std::uint32_t unit) {
  return unit & (1U << 31 | 0xFFU);
}

std::size_t offset(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10) << ((unit & 1U << 9) >> 6);
}

}  // namespace

Result<Charsmap> Charsmap::parse(std::string_view blob) {
  std::uint32_t trie_bytes = 0;
  const bool has_size = blob.size() > sizeof trie_bytes && blob.size() <= kMaxBlob;
  if (has_size) {
    std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
    blob.remove_prefix(sizeof trie_bytes);
  }
  if (!has_size || trie_bytes < 4 || trie_bytes % 4 != 0 || trie_bytes > blob.size() ||
      !is_valid_utf8(blob.substr(trie_bytes))) {
    return fail_param("precompiled_charsmap", "is cut or damaged", ErrorCode::kDataLoss);
  }
  Charsmap out;
  out.units_.resize(trie_bytes / 4);
  std::memcpy(out.units_.data(), blob.data(), trie_bytes);
  out.replacements_ = blob.substr(trie_bytes);
  return out;
}

std::optional<Charsmap::Rule> Charsmap::find(std::string_view text, bool first) const {
  std::optional<Rule> found;
  std::size_t node = offset(units_[0]);
  for (std::size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) {
      break;
    }
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit) || node >= units_.size()) {
      continue;
    }
    const std::size_t begin = units_[node] & 0x7FFFFFFFU;
    if (begin >= replacements_.size()) {
      continue;
    }
    const std::string_view rest = std::string_view(replacements_).substr(begin);
    const std::string_view with = rest.substr(0, rest.find('\0'));
    // A damaged map may point into the middle of a character.
    if (is_valid_utf8(with)) {
      found = Rule{i + 1, with};
      if (first) {
        break;
      }
    }
  }
  return found;
}

}  // namespace genesis::text
