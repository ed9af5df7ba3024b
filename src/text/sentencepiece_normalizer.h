// sentencepiece's normalizer: charsmap, spaces to U+2581, a space before the text.
#pragma once

#include "text/added_tokens.h"
#include "text/charsmap.h"
#include "text/normalizer.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace genesis::text {

// Semantics: github.com/google/sentencepiece, src/normalizer.cc, Normalizer::Normalize.
class SentencePieceNormalizer final : public Normalizer {
 public:
  struct Options {
    bool add_dummy_prefix = true;
    bool space_is_suffix = false;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
  };

  // `kept`: texts the charsmap must leave alone.
  SentencePieceNormalizer(Options options, std::optional<Charsmap> map, TokenMatcher kept)
      : options_(options), map_(std::move(map)), kept_(std::move(kept)) {}

  void apply(AlignedText& text) const override;

 private:
  struct Step {
    std::size_t bytes;      // of the text it takes
    std::string_view with;  // what it becomes
  };

  class Output;

  Step step_at(std::string_view text, std::size_t at) const;

  Options options_;
  std::optional<Charsmap> map_;
  TokenMatcher kept_;
};

}  // namespace genesis::text
