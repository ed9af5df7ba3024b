// Byte-pair encoding: over bytes (byte-level models), over characters (sentencepiece-style
// tokenizer.json), or with merges made from piece scores (sentencepiece and GGUF files).
#pragma once

#include "base/result.h"
#include "text/flat_map.h"
#include "text/token_model.h"
#include "text/vocabulary.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text {

// The place of a pair of neighbours in the filter of BpeModel::joins_.
inline std::uint32_t join_bit(char32_t left, char32_t right) {
  const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | right;
  return static_cast<std::uint32_t>(pair * 0x9E3779B97F4A7C15ULL >> 42);
}

// A model as tokenizer.json declares it. Views must live until BpeModel::build returns.
struct BpeSource {
  TokenList vocabulary;
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // in rank order
  std::optional<std::string> unknown_token;
  std::string continuing_prefix;  // before every symbol of a word but the first
  std::string word_suffix;        // behind the last
  bool bytes = true;              // words arrive as bytes, spelled in the byte-level alphabet
  bool byte_fallback = false;     // unknown characters become byte tokens, <0xAB>
  bool fuse_unknown = false;
  bool ignore_merges = false;  // a whole word that is a token is that token
};

// A model whose merges follow from scores: any two neighbours that make a piece, the piece with the
// best score first. Semantics: github.com/google/sentencepiece, src/bpe_model.cc.
struct ScoredSource {
  enum class Kind : std::uint8_t {
    kNormal,
    kUnused,  // only a step towards other pieces
    kByte,    // stands for a byte
    kOther,   // never made by merging
  };

  TokenList vocabulary;       // ids count up from 0
  std::vector<float> scores;  // by id
  std::vector<Kind> kinds;    // by id
  std::optional<std::int32_t> unknown_id;
  bool byte_fallback = true;
};

// Immutable but for a cache of one byte per token, which is atomic; safe from any thread.
class BpeModel final : public TokenModel {
 public:
  static Result<BpeModel> build(const BpeSource& source);
  static Result<BpeModel> build(const ScoredSource& source);

  // O(n log n) in the length of the word.
  void encode(std::string_view word,
              ModelScratch& scratch,
              std::vector<std::int32_t>& out) const override;
  void encode_spans(std::string_view word,
                    ModelScratch& scratch,
                    std::vector<TokenSpan>& out) const override;

  std::int32_t size() const override { return vocabulary_.size(); }

  std::int32_t token_count() const override { return vocabulary_.count(); }

  bool has(std::int32_t id) const override { return vocabulary_.has(id); }

  std::string token(std::int32_t id) const override { return vocabulary_.spelled(id); }

  std::optional<std::int32_t> find(std::string_view token) const override {
    return vocabulary_.find(token);
  }

  std::string_view content(std::int32_t id) const override { return vocabulary_.content(id); }

 private:
  // What merging starts with: its id (-1: none), how the vocabulary would spell it, its bytes of
  // the word.
  struct FirstSymbol {
    std::int32_t id;
    std::string_view text;
    std::size_t bytes;
  };

  explicit BpeModel(Vocabulary vocabulary)
      : vocabulary_(std::move(vocabulary)), merges_(hash_seed()) {}

  Result<void> add_merges(const BpeSource& source);
  void add_scored_merges(const ScoredSource& source);
  void find_byte_tokens();
  void index_characters();
  void index_joins();
  void finish();

  std::int32_t character_id(char32_t c) const;
  bool may_join(char32_t left, char32_t right) const;
  void encode_part(std::string_view word,
                   ModelScratch& scratch,
                   std::vector<std::int32_t>& out) const;
  bool is_own_encoding(std::int32_t id, ModelScratch& scratch) const;

  void start(std::string_view word, ModelScratch& scratch) const;
  void start_bytes(std::string_view word, ModelScratch& scratch) const;
  void start_characters(std::string_view word, ModelScratch& scratch) const;
  void start_affixed(std::string_view word, ModelScratch& scratch) const;
  void add_first_symbol(const FirstSymbol& symbol, ModelScratch& scratch) const;
  void flush_unknown(ModelScratch& scratch) const;
  bool add_byte_tokens(std::string_view symbol, ModelScratch& scratch) const;
  void merge(std::string_view word, ModelScratch& scratch) const;
  void merge_short(ModelScratch& scratch) const;
  void merge_long(ModelScratch& scratch) const;
  void settle(ModelScratch& scratch) const;
  void settle_one(std::int32_t id, std::uint32_t bytes, ModelScratch& scratch) const;

  Vocabulary vocabulary_;
  FlatMap merges_;  // left << 32 | right  ->  rank << 32 | merged
  std::string prefix_;
  std::string suffix_;
  bool bytes_ = true;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  bool byte_fallback_ = false;
  // Scored models: what is no token is settled after merging, not before.
  bool settles_late_ = false;
  std::int32_t unknown_id_ = -1;
  std::array<std::int32_t, 256> byte_ids_{};     // of a byte as a symbol, or -1
  std::array<std::int32_t, 256> byte_tokens_{};  // of <0xAB>, or -1
  std::vector<std::int32_t> basic_ids_;          // of the characters below U+10000, or -1
  FlatMap astral_ids_;                           // of those above
  // Scored models: characters that are no piece but part of one; ids count from size().
  std::vector<std::string> extra_characters_;
  std::vector<bool> unused_;  // by id; empty if there are none
  // Neighbours that some token has side by side, as a Bloom filter: between all others a word can
  // be cut before merging. Empty: no cutting.
  std::vector<std::uint64_t> joins_;
  // Does encoding a token's own content give just that token? 0 not asked yet, 1 yes, 2 no.
  mutable std::unique_ptr<std::atomic<std::uint8_t>[]> own_encoding_;
};

}  // namespace genesis::text
