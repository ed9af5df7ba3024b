// WordPiece and WordLevel: models that look words up.
#pragma once

#include "base/result.h"
#include "text/token_model.h"
#include "text/vocabulary.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// What both have in common. Immutable; safe from any thread.
class WordModel : public TokenModel {
 public:
  void encode(std::string_view word,
              ModelScratch& scratch,
              std::vector<std::int32_t>& out) const override;

  std::int32_t size() const override { return vocabulary_.size(); }

  std::int32_t token_count() const override { return vocabulary_.count(); }

  bool has(std::int32_t id) const override { return vocabulary_.has(id); }

  std::string token(std::int32_t id) const override { return vocabulary_.spelled(id); }

  std::string_view content(std::int32_t id) const override { return vocabulary_.content(id); }

  std::optional<std::int32_t> find(std::string_view token) const override {
    return vocabulary_.find(token);
  }

 protected:
  WordModel(Vocabulary vocabulary, std::string_view unknown)
      : vocabulary_(std::move(vocabulary)), unknown_id_(vocabulary_.find(unknown).value_or(-1)) {}

  // A word nothing fits. Without an unknown token it vanishes; the package fails there.
  void add_unknown(std::string_view word, std::vector<TokenSpan>& out) const {
    if (unknown_id_ >= 0) {
      out.push_back({unknown_id_, 0, word.size()});
    }
  }

  Vocabulary vocabulary_;
  std::int32_t unknown_id_;
};

class WordLevelModel final : public WordModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string_view unknown)
      : WordModel(std::move(vocabulary), unknown) {}

  void encode_spans(std::string_view word,
                    ModelScratch& scratch,
                    std::vector<TokenSpan>& out) const override;
};

class WordPieceModel final : public WordModel {
 public:
  struct Options {
    std::string unknown_token;
    std::string continuing_prefix;     // before every piece of a word but the first
    std::size_t max_characters = 100;  // longer words are unknown
  };

  WordPieceModel(Vocabulary vocabulary, Options options);

  // The longest piece first; quadratic in the length of the longest token.
  void encode_spans(std::string_view word,
                    ModelScratch& scratch,
                    std::vector<TokenSpan>& out) const override;

 private:
  Options options_;
  std::size_t longest_ = 0;  // token, in bytes
};

}  // namespace genesis::text
