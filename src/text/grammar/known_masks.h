// Masks, and those of the rules that every grammar means by the same name: strings, formats. They
// are found out once for a vocabulary.
#pragma once

#include "text/grammar/token_trie.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace genesis::text::grammar {

// The allowed tokens: those of `base`, which several masks may share, and some more.
struct Mask {
  const TokenBits* base = nullptr;
  std::vector<std::int32_t> tokens;
  std::uint32_t worst_cost = 0;  // the most tokens that may be needed after one of them

  void write(std::span<std::uint64_t> allowed) const;
};

inline void set_bit(std::span<std::uint64_t> bits, std::int32_t token) {
  const auto at = static_cast<std::size_t>(token);
  bits[at / 64] |= std::uint64_t{1} << (at % 64);
}

// A place in a trie after whose byte the rule may have ended.
struct Exit {
  const ByteTrie* trie = nullptr;
  std::uint32_t node = 0;
};

// What is known of a place in a rule wherever the rule is called: the tokens that stay within it,
// and from where on it depends on what follows.
struct PlaceMask {
  Mask mask;
  std::vector<Exit> exits;
  TokenBits bits;  // behind mask.base, unless that belongs to the vocabulary
};

// Safe from any thread.
class KnownMasks {
 public:
  std::shared_ptr<const PlaceMask> find(const std::string& place) const;
  // Keeps `mask`, or not when there are too many.
  void add(const std::string& place, std::shared_ptr<const PlaceMask> mask);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const PlaceMask>> masks_;
};

}  // namespace genesis::text::grammar
