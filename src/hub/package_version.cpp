// Versions cut into numbers that compare as PEP 440 says.
#include "hub/package_version.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace genesis::hub {

namespace {

// A version cut into comparable numbers: epoch, release without trailing zeros, then phase and
// number.
struct Version {
  std::int64_t epoch = 0;
  std::vector<std::int64_t> release;
  std::vector<std::int64_t> suffix;  // pairs of phase rank and number

  bool pre_release = false;
};

std::int64_t take_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(static_cast<std::size_t>(end.ptr - text.data()));
  return value;
}

constexpr std::int64_t kFinal = 5;
constexpr std::int64_t kPost = 6;

// Phases in their order, around kFinal; 0 for other words.
std::int64_t phase_rank(std::string_view word) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 10> kRanks{{{"dev", 1},
                                                                              {"a", 2},
                                                                              {"alpha", 2},
                                                                              {"b", 3},
                                                                              {"beta", 3},
                                                                              {"rc", 4},
                                                                              {"c", 4},
                                                                              {"pre", 4},
                                                                              {"post", kPost},
                                                                              {"rev", kPost}}};
  const auto* at =
      std::ranges::find(kRanks, word, &std::pair<std::string_view, std::int64_t>::first);
  return at == kRanks.end() ? 0 : at->second;
}

Version parse_version(std::string_view raw) {
  std::string folded(raw);
  std::ranges::transform(folded, folded.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  std::string_view text = folded;
  text = text.substr(0, text.find('+'));
  Version version;
  if (const auto bang = text.find('!'); bang != std::string_view::npos) {
    version.epoch = take_number(text);
    text.remove_prefix(std::min(text.size(), std::size_t{1}));
  }
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  while (!text.empty() && is_digit(text.front())) {
    version.release.push_back(take_number(text));
    if (text.size() > 1 && text.front() == '.' && is_digit(text[1])) {
      text.remove_prefix(1);
    }
  }
  while (version.release.size() > 1 && version.release.back() == 0) {
    version.release.pop_back();
  }
  constexpr std::string_view kSeparators = "._-";
  while (!text.empty()) {
    text.remove_prefix(std::min(text.find_first_not_of(kSeparators), text.size()));
    const auto letters =
        std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), text.size());
    // "1.0-1" is an old way to write "1.0.post1".
    const std::int64_t rank = letters == 0 ? kPost : phase_rank(text.substr(0, letters));
    text.remove_prefix(letters);
    text.remove_prefix(!text.empty() && kSeparators.contains(text.front()) ? 1 : 0);
    if (rank == 0 || (letters == 0 && (text.empty() || !is_digit(text.front())))) {
      version.suffix.push_back(0);  // not a version of PEP 440: before every other
      break;
    }
    version.suffix.push_back(rank);
    version.suffix.push_back(!text.empty() && is_digit(text.front()) ? take_number(text) : 0);
    version.pre_release = version.pre_release || rank < kFinal;
  }
  version.suffix.push_back(kFinal);
  return version;
}

}  // namespace

int compare_versions(std::string_view a, std::string_view b) {
  const Version left = parse_version(a);
  const Version right = parse_version(b);
  const auto key = [](const Version& v) { return std::tie(v.epoch, v.release, v.suffix); };
  const auto order = key(left) <=> key(right);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

bool is_pre_release(std::string_view version) {
  return parse_version(version).pre_release;
}

}  // namespace genesis::hub
