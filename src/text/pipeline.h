// The tokenizer as a chain of parts: added tokens, normalizer, pre-tokenizer, model,
// post-processor, decoder. All loaders fill TokenizerParts; nothing here knows where they came
// from.
#pragma once

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/token_model.h"
#include "text/tokenizer.h"

#include <memory>
#include <optional>
#include <vector>

namespace genesis::text {

struct TokenizerParts {
  std::unique_ptr<const TokenModel> model;
  std::vector<AddedToken> added_tokens;               // contents and ids unique, contents not empty
  std::unique_ptr<const Normalizer> normalizer;       // null: text stays as it is
  std::unique_ptr<const PreTokenizer> pre_tokenizer;  // null: it is one word
  bool needs_origin = false;                          // of PreTokenizerPlan
  bool spells_bytes = false;  // the model's tokens are spelled in the byte-level alphabet
  PostProcessor post_processor;
  Decoder decoder;
  std::shared_ptr<const CharTable> table;
  std::optional<std::int32_t> bos_id;
  std::vector<std::int32_t> end_ids;
};

// Limits of the added tokens of any kind of file: count, and bytes of one.
inline constexpr std::size_t kMaxAddedTokens = 200'000;
inline constexpr std::size_t kMaxAddedTokenBytes = 1024;

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts);

}  // namespace genesis::text
