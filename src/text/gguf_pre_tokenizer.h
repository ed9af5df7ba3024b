// What `tokenizer.ggml.pre` of a GGUF file stands for. The file names the pre-tokenizer only; its
// patterns are those of the models' own tokenizer.json.
#pragma once

#include "base/result.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

#include <memory>
#include <string_view>

namespace genesis::text {

struct GgufPreTokenizer {
  std::unique_ptr<const PreTokenizer> chain;  // words leave as bytes
  bool ignore_merges = false;                 // a whole word that is a token is that token
  bool nfc = false;                           // the model's normalizer
};

// kUnsupported names an unknown one.
Result<GgufPreTokenizer> gguf_pre_tokenizer(std::string_view name,
                                            const std::shared_ptr<const CharTable>& table);

}  // namespace genesis::text
