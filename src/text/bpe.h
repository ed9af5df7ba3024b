// Byte-pair encoding over bytes: the model part of a byte-level tokenizer. Words arrive as raw
// bytes; the vocabulary's printable alphabet (text/byte_level.h) is undone once, at loading.
#pragma once

#include "base/result.h"
#include "text/byte_level.h"
#include "text/flat_map.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text {

// A model as a file declares it. Views must live until BpeModel::build returns.
struct BpeSource {
  std::vector<std::pair<std::string_view, std::int32_t>> vocabulary;
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // in rank order
  std::optional<std::string> unknown_token;
  bool fuse_unknown = false;
  bool ignore_merges = false;
};

// Ids must be below this: far above any real vocabulary, and an id-indexed table still fits memory.
inline constexpr std::int32_t kMaxTokenId = 4 * 1024 * 1024;

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

// Immutable but for a cache of one byte per token, which is atomic; safe from any thread.
class BpeModel {
 public:
  static Result<BpeModel> build(const BpeSource& source);

  // Working memory of one encode call.
  struct Scratch {
    struct Symbol {
      std::int32_t id;
      std::int32_t previous;
      std::int32_t next;
      bool live;
    };

    struct Merge {
      std::uint32_t rank;
      std::int32_t position;
      std::int32_t new_id;
    };

    std::vector<Symbol> symbols;
    std::vector<Merge> heap;
    std::vector<std::uint64_t> pairs;
    std::vector<std::int32_t> ids;
  };

  // Appends the ids of one pre-tokenized word. O(n log n) in the length of the word.
  void encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const;

  std::int32_t size() const { return static_cast<std::int32_t>(contents_.size()); }

  // How many tokens there are; ids may have gaps, so size() can be larger.
  std::int32_t token_count() const { return token_count_; }

  bool has(std::int32_t id) const {
    return id >= 0 && id < size() && present_[static_cast<std::size_t>(id)] != 0;
  }

  // The bytes of a token; empty for an id without one.
  std::string_view bytes(std::int32_t id) const {
    return has(id) ? std::string_view(contents_[static_cast<std::size_t>(id)]) : std::string_view();
  }

  // By the text the vocabulary spells, e.g. "Ġthe".
  std::optional<std::int32_t> find(std::string_view token) const;

 private:
  explicit BpeModel(std::uint64_t seed) : words_(seed), others_(seed), merges_(seed) {}

  Result<void> add_vocabulary(const BpeSource& source);
  Result<void> add_merges(const BpeSource& source);
  void start_symbols(std::string_view word, std::vector<std::int32_t>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;
  void merge(std::string_view word, Scratch& scratch) const;
  bool is_own_encoding(std::int32_t id, Scratch& scratch) const;

  ByteAlphabet alphabet_;
  std::vector<std::string> contents_;  // by id, as bytes
  std::vector<std::uint8_t> present_;
  TokenIndex words_;  // tokens made of bytes
  TokenIndex
      others_;      // tokens with characters outside the byte alphabet: only added tokens use them
  FlatMap merges_;  // left << 32 | right  ->  rank << 32 | merged
  std::array<std::int32_t, 256> byte_ids_{};
  std::int32_t unknown_id_ = -1;
  std::int32_t token_count_ = 0;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  // Does encoding a token's own bytes give just that token? 0 not asked yet, 1 yes, 2 no.
  mutable std::unique_ptr<std::atomic<std::uint8_t>[]> own_encoding_;
};

}  // namespace genesis::text
