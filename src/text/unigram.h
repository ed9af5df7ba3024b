// Unigram language model: of all ways to cut a word into pieces, the one with the highest sum of
// scores.
#pragma once

#include "base/result.h"
#include "text/flat_map.h"
#include "text/token_model.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace genesis::text {

struct UnigramSource {
  struct PieceRow {
    std::string_view text;
    double score;
    bool hidden = false;  // never found in text
  };

  std::vector<PieceRow> pieces;  // by id
  std::optional<std::int32_t> unknown_id;
  bool byte_fallback = false;
  // Sums as sentencepiece rounds them, to 32 bits; else as `tokenizers`, to 64.
  bool narrow_sums = false;
};

// Immutable; safe from any thread.
class UnigramModel final : public TokenModel {
 public:
  static Result<UnigramModel> build(const UnigramSource& source);

  // Linear in the word times the longest piece.
  void encode(std::string_view word,
              ModelScratch& scratch,
              std::vector<std::int32_t>& out) const override;
  void encode_spans(std::string_view word,
                    ModelScratch& scratch,
                    std::vector<TokenSpan>& out) const override;

  std::int32_t size() const override { return static_cast<std::int32_t>(pieces_.size()); }

  std::int32_t token_count() const override { return size(); }

  bool has(std::int32_t id) const override { return id >= 0 && id < size(); }

  std::string token(std::int32_t id) const override {
    return has(id) ? pieces_[static_cast<std::size_t>(id)] : std::string();
  }

  std::string_view content(std::int32_t id) const override {
    return has(id) ? std::string_view(pieces_[static_cast<std::size_t>(id)]) : std::string_view();
  }

  std::optional<std::int32_t> find(std::string_view token) const override;

 private:
  UnigramModel();

  Result<void> add(const UnigramSource& source);
  void add_to_trie(std::int32_t id);
  std::uint64_t child(std::uint64_t node, char c) const;
  void find_path(std::string_view word, ModelScratch& scratch) const;
  void reach(ModelScratch::Node& node, const ModelScratch::Node& candidate) const;
  template <typename Emit>
  void walk_path(std::string_view word, ModelScratch& scratch, Emit emit) const;

  std::vector<std::string> pieces_;
  std::vector<double> scores_;
  std::unordered_map<std::string, std::int32_t> ids_;  // the last of equals
  FlatMap edges_;                                      // node << 8 | byte -> node
  std::array<std::uint64_t, 256> roots_{};             // edges of node 0
  std::vector<std::int32_t> ends_;                     // by node: the piece that ends there, or -1
  std::array<std::int32_t, 256> byte_tokens_{};
  double unknown_score_ = 0;
  std::int32_t unknown_id_ = -1;
  bool byte_fallback_ = false;
  bool narrow_sums_ = false;
};

}  // namespace genesis::text
