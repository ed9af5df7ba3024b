// Tokenizer from the vocabulary inside a GGUF file. Layout of the keys: ggml's docs/gguf.md;
// meaning of the names: llama.cpp, src/llama-vocab.cpp.
#include "text/bpe.h"
#include "text/gguf_pre_tokenizer.h"
#include "text/normalizer_steps.h"
#include "text/pipeline.h"
#include "text/pre_tokenizer_steps.h"
#include "text/sentencepiece.h"
#include "text/word_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, for the space

std::unexpected<Error> bad(std::string_view key, std::string message) {
  return fail_param(
      fmt::format("tokenizer.ggml.{}", key), std::move(message), ErrorCode::kDataLoss);
}

PieceType type_of(const GgufVocabulary& vocabulary, std::size_t id) {
  const std::int32_t type = vocabulary.token_types.empty() ? 1 : vocabulary.token_types[id];
  return type >= 1 && type <= 6 ? static_cast<PieceType>(type) : PieceType::kNormal;
}

Result<std::unique_ptr<const TokenModel>> byte_level_model(const GgufVocabulary& vocabulary,
                                                           bool ignore_merges) {
  BpeSource source;
  source.ignore_merges = ignore_merges;
  source.vocabulary.reserve(vocabulary.tokens.size());
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    source.vocabulary.emplace_back(vocabulary.tokens[i], static_cast<std::int32_t>(i));
  }
  source.merges.reserve(vocabulary.merges.size());
  for (std::size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view line = vocabulary.merges[i];
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return bad("merges", fmt::format("merge {} is not two tokens with a space between", i));
    }
    source.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  GENESIS_TRY(BpeModel model, BpeModel::build(source));
  return std::make_unique<BpeModel>(std::move(model));
}

Result<std::vector<AddedToken>> added_tokens(const GgufVocabulary& vocabulary) {
  std::vector<AddedToken> out;
  for (std::size_t i = 0; i < vocabulary.token_types.size(); ++i) {
    const PieceType type = type_of(vocabulary, i);
    if ((type != PieceType::kUnknown && type != PieceType::kControl &&
         type != PieceType::kUserDefined) ||
        vocabulary.tokens[i].empty()) {
      continue;
    }
    if (out.size() == kMaxAddedTokens || vocabulary.tokens[i].size() > kMaxAddedTokenBytes) {
      return bad("tokens", fmt::format("token {} is one added token too many, or too long", i));
    }
    AddedToken token;
    token.content = vocabulary.tokens[i];
    token.id = static_cast<std::int32_t>(i);
    token.special = type != PieceType::kUserDefined;
    out.push_back(std::move(token));
  }
  return out;
}

Result<void> check(const GgufVocabulary& vocabulary) {
  const std::size_t count = vocabulary.tokens.size();
  if (count == 0 || count > static_cast<std::size_t>(kMaxTokenId)) {
    return bad("tokens",
               fmt::format("{} tokens; between 1 and {} are possible", count, kMaxTokenId));
  }
  if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != count) {
    return bad("token_type",
               fmt::format("{} types for {} tokens", vocabulary.token_types.size(), count));
  }
  for (const auto& [key, id] : {std::pair{"bos_token_id", vocabulary.bos_id},
                                std::pair{"eos_token_id", vocabulary.eos_id},
                                std::pair{"eot_token_id", vocabulary.eot_id},
                                std::pair{"unknown_token_id", vocabulary.unknown_id},
                                std::pair{"padding_token_id", vocabulary.padding_id}}) {
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= count)) {
      return bad(key, fmt::format("id {} is outside the vocabulary of {} tokens", *id, count));
    }
  }
  if (!vocabulary.scores.empty() && vocabulary.scores.size() != count) {
    return bad("scores", fmt::format("{} scores for {} tokens", vocabulary.scores.size(), count));
  }
  if ((vocabulary.add_bos && !vocabulary.bos_id) || (vocabulary.add_eos && !vocabulary.eos_id)) {
    return bad("add_bos_token", "BOS or EOS is to be added, but its id is not given");
  }
  return {};
}

PostProcessor post_processor(const GgufVocabulary& vocabulary) {
  std::vector<PostProcessor::Slot> slots;
  if (vocabulary.add_bos) {
    slots.push_back({false, {*vocabulary.bos_id}});
  }
  slots.push_back({true, {}});
  if (vocabulary.add_eos) {
    slots.push_back({false, {*vocabulary.eos_id}});
  }
  return PostProcessor(std::move(slots));
}

// What all kinds have in common.
Result<TokenizerParts> common_parts(const GgufVocabulary& vocabulary, Decoder decoder) {
  GENESIS_TRY(auto tokens, added_tokens(vocabulary));
  std::vector<std::int32_t> end_ids;
  for (const auto& id : {vocabulary.eos_id, vocabulary.eot_id}) {
    if (id && std::ranges::find(end_ids, *id) == end_ids.end()) {
      end_ids.push_back(*id);
    }
  }
  return TokenizerParts{.model = nullptr,
                        .added_tokens = std::move(tokens),
                        .normalizer = nullptr,
                        .pre_tokenizer = nullptr,
                        .post_processor = post_processor(vocabulary),
                        .decoder = std::move(decoder),
                        .table = std::make_shared<const CharTable>(),
                        .bos_id = vocabulary.bos_id,
                        .end_ids = std::move(end_ids)};
}

Result<std::shared_ptr<const Tokenizer>> make_byte_level(const GgufVocabulary& vocabulary) {
  GENESIS_TRY(TokenizerParts parts, common_parts(vocabulary, Decoder::bytes()));
  GENESIS_TRY(auto pre_tokenizer, gguf_pre_tokenizer(vocabulary.pre, parts.table));
  if (pre_tokenizer.nfc) {
    GENESIS_TRY(parts.normalizer, make_unicode_form(UnicodeForm::kNfc));
  }
  GENESIS_TRY(parts.model, byte_level_model(vocabulary, pre_tokenizer.ignore_merges));
  parts.pre_tokenizer = std::move(pre_tokenizer.chain);
  parts.spells_bytes = true;
  return make_tokenizer(std::move(parts));
}

// sentencepiece BPE, as llama.cpp's llm_tokenizer_spm runs it: no charsmap, every space counts.
Result<std::shared_ptr<const Tokenizer>> make_scored(const GgufVocabulary& vocabulary) {
  if (vocabulary.scores.empty()) {
    return bad("scores", "model 'llama' needs the scores of its tokens");
  }
  GENESIS_TRY(TokenizerParts parts,
              common_parts(vocabulary, Decoder::pieces(vocabulary.add_space_prefix)));
  ScoredSource source;
  source.scores = vocabulary.scores;
  source.unknown_id = vocabulary.unknown_id;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    using Kind = ScoredSource::Kind;
    const PieceType type = type_of(vocabulary, id);
    const bool other = type == PieceType::kControl || type == PieceType::kUnknown;
    source.vocabulary.emplace_back(vocabulary.tokens[id], static_cast<std::int32_t>(id));
    source.kinds.push_back(type == PieceType::kByte ? Kind::kByte
                                                    : (other ? Kind::kOther : Kind::kNormal));
  }
  GENESIS_TRY(BpeModel model, BpeModel::build(source));
  parts.model = std::make_unique<BpeModel>(std::move(model));
  std::vector<std::unique_ptr<const Normalizer>> steps;
  if (vocabulary.add_space_prefix) {
    steps.push_back(make_prepend(std::string(kMark)));
  }
  steps.push_back(make_replace_text(" ", std::string(kMark)));
  parts.normalizer = in_sequence(std::move(steps));
  return make_tokenizer(std::move(parts));
}

Result<std::shared_ptr<const Tokenizer>> make_unigram(const GgufVocabulary& vocabulary) {
  if (vocabulary.scores.empty()) {
    return bad("scores", "model 't5' needs the scores of its tokens");
  }
  SentencePieces pieces;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    pieces.rows.push_back({vocabulary.tokens[id], vocabulary.scores[id], type_of(vocabulary, id)});
    pieces.byte_fallback = pieces.byte_fallback || pieces.rows.back().type == PieceType::kByte;
  }
  pieces.add_dummy_prefix = vocabulary.add_space_prefix;
  pieces.remove_extra_whitespaces = vocabulary.remove_extra_whitespaces;
  pieces.precompiled_charsmap = vocabulary.precompiled_charsmap;
  pieces.bos_id = vocabulary.bos_id;
  pieces.eos_id = vocabulary.eos_id;
  return make_sentencepiece(pieces, {vocabulary.add_bos, vocabulary.add_eos});
}

// The file spells a token that begins a word with U+2581 before it, and others without "##".
Result<std::shared_ptr<const Tokenizer>> make_word_piece(const GgufVocabulary& vocabulary) {
  GENESIS_TRY(TokenizerParts parts, common_parts(vocabulary, Decoder::word_pieces()));
  std::vector<std::string> spelled;
  spelled.reserve(vocabulary.tokens.size());
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    const PieceType type = type_of(vocabulary, id);
    if (type == PieceType::kControl || type == PieceType::kUnknown) {
      spelled.push_back(token);
    } else if (token.starts_with(kMark)) {
      spelled.push_back(token.substr(kMark.size()));
    } else {
      spelled.push_back("##" + token);
    }
  }
  TokenList tokens;
  for (std::size_t id = 0; id < spelled.size(); ++id) {
    tokens.emplace_back(spelled[id], static_cast<std::int32_t>(id));
  }
  GENESIS_TRY(Vocabulary words, Vocabulary::build(tokens, Vocabulary::Spelling::kText));
  const std::string unknown = words.spelled(vocabulary.unknown_id.value_or(-1));
  parts.model = std::make_unique<WordPieceModel>(
      std::move(words), WordPieceModel::Options{unknown.empty() ? "[UNK]" : unknown, "##", 100});
  GENESIS_TRY(parts.normalizer, make_bert_normalizer(parts.table));
  parts.pre_tokenizer = make_bert_pre_tokenizer(parts.table);
  return make_tokenizer(std::move(parts));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufVocabulary& vocabulary) {
  GENESIS_TRY_VOID(check(vocabulary));
  if (vocabulary.model == "gpt2") {
    return make_byte_level(vocabulary);
  }
  if (vocabulary.model == "llama" || vocabulary.model == "gemma") {
    return make_scored(vocabulary);
  }
  if (vocabulary.model == "t5") {
    return make_unigram(vocabulary);
  }
  if (vocabulary.model == "bert") {
    return make_word_piece(vocabulary);
  }
  return fail_param("tokenizer.ggml.model",
                    fmt::format("tokenizer model '{}' is not supported, only gpt2, llama, gemma, "
                                "bert and t5",
                                vocabulary.model),
                    ErrorCode::kUnsupported);
}

}  // namespace genesis::text
