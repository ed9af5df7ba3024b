// sentencepiece models: what a tokenizer.model file holds, and the tokenizer made of it. GGUF files
// bring the same in other words.
#pragma once

#include "base/result.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Numbers and names: github.com/google/sentencepiece, src/sentencepiece_model.proto.
enum class PieceType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct SentencePieces {
  enum class Algorithm : std::uint8_t { kUnigram = 1, kBpe = 2 };

  struct Row {
    std::string text;
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Row> rows;  // by id
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool space_is_suffix = false;
  // How text is normalized.
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string precompiled_charsmap;
  // Ids of the tokens around a text.
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> eos_id;
};

// Reads a tokenizer.model file.
Result<SentencePieces> parse_sentencepiece(std::string_view file);

Result<std::shared_ptr<const Tokenizer>> make_sentencepiece(const SentencePieces& pieces,
                                                            SentencePieceOptions options);

}  // namespace genesis::text
