// Tokens and their ids, both ways.
#pragma once

#include "base/result.h"
#include "text/byte_level.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text {

// Ids must be below this: far above any real vocabulary, and an id-indexed table still fits memory.
inline constexpr std::int32_t kMaxTokenId = 4 * 1024 * 1024;

// Views must live until Vocabulary::build returns.
using TokenList = std::vector<std::pair<std::string_view, std::int32_t>>;

// A number no file can know, to seed hashes with.
std::uint64_t hash_seed();

// Token contents to ids: open addressing over the contents held elsewhere, seeded hash.
class TokenIndex {
 public:
  explicit TokenIndex(std::uint64_t seed) : seed_(seed) {}

  void reserve(std::size_t count);
  // False when the content is there already.
  bool insert(std::int32_t id, const std::vector<std::string>& contents);
  std::int32_t find(std::string_view content, const std::vector<std::string>& contents) const;

 private:
  std::size_t start(std::string_view content) const;

  std::vector<std::int32_t> slots_;  // -1: free
  std::uint64_t seed_;
};

// Immutable; safe from any thread.
class Vocabulary {
 public:
  // How a token's content is kept: as it is spelled, or as the bytes the byte-level alphabet
  // spells.
  enum class Spelling : std::uint8_t { kText, kBytes };

  static Result<Vocabulary> build(const TokenList& tokens, Spelling spelling);

  std::int32_t size() const { return static_cast<std::int32_t>(contents_.size()); }

  // How many tokens there are; ids may have gaps, so size() can be larger.
  std::int32_t count() const { return count_; }

  bool has(std::int32_t id) const {
    return id >= 0 && id < size() && kinds_[static_cast<std::size_t>(id)] != Kind::kNone;
  }

  // Empty for an id without a token.
  std::string_view content(std::int32_t id) const {
    return has(id) ? std::string_view(contents_[static_cast<std::size_t>(id)]) : std::string_view();
  }

  std::string spelled(std::int32_t id) const;
  std::optional<std::int32_t> find(std::string_view spelled) const;

  // By content; -1 if there is none. Tokens of kBytes with characters outside the alphabet are not
  // found: no word has them.
  std::int32_t find_content(std::string_view content) const {
    return words_.find(content, contents_);
  }

 private:
  enum class Kind : std::uint8_t { kNone, kWord, kOther };

  Vocabulary(Spelling spelling, std::uint64_t seed)
      : spelling_(spelling), words_(seed), others_(seed) {}

  Result<void> add(const TokenList& tokens);

  Spelling spelling_;
  ByteAlphabet alphabet_;
  std::vector<std::string> contents_;
  std::vector<Kind> kinds_;
  TokenIndex words_;
  TokenIndex others_;  // of kBytes: characters outside the alphabet
  std::int32_t count_ = 0;
};

}  // namespace genesis::text
