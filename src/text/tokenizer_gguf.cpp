// Tokenizer from the vocabulary inside a GGUF file. Layout of the keys: ggml's docs/gguf.md;
// meaning of the names: llama.cpp, src/llama-vocab.cpp.
#include "text/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

enum TokenType : std::int32_t { kUnknownToken = 2, kControl = 3, kUserDefined = 4 };

std::unexpected<Error> bad(std::string_view key, std::string message) {
  return fail_param(
      fmt::format("tokenizer.ggml.{}", key), std::move(message), ErrorCode::kDataLoss);
}

Result<BpeModel> build_model(const GgufVocabulary& vocabulary) {
  BpeSource source;
  source.ignore_merges = vocabulary.pre == "llama-bpe";
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
  return BpeModel::build(source);
}

Result<std::vector<AddedToken>> added_tokens(const GgufVocabulary& vocabulary) {
  std::vector<AddedToken> out;
  for (std::size_t i = 0; i < vocabulary.token_types.size(); ++i) {
    const std::int32_t type = vocabulary.token_types[i];
    if ((type != kUnknownToken && type != kControl && type != kUserDefined) ||
        vocabulary.tokens[i].empty()) {
      continue;
    }
    if (out.size() == kMaxAddedTokens || vocabulary.tokens[i].size() > kMaxAddedTokenBytes) {
      return bad("tokens", fmt::format("token {} is one added token too many, or too long", i));
    }
    AddedToken token;
    token.content = vocabulary.tokens[i];
    token.id = static_cast<std::int32_t>(i);
    token.special = type != kUserDefined;
    out.push_back(std::move(token));
  }
  return out;
}

Result<void> check(const GgufVocabulary& vocabulary) {
  if (vocabulary.model != "gpt2") {
    return fail_param(
        "tokenizer.ggml.model",
        fmt::format("tokenizer model '{}' is not supported, only gpt2 (byte-level BPE)",
                    vocabulary.model),
        ErrorCode::kUnsupported);
  }
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

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufVocabulary& vocabulary) {
  GENESIS_TRY_VOID(check(vocabulary));
  const auto table = std::make_shared<const CharTable>();
  GENESIS_TRY(auto pre_tokenizer, gguf_pre_tokenizer(vocabulary.pre, table));
  std::unique_ptr<const Normalizer> normalizer;
  if (vocabulary.pre == "qwen2") {
    GENESIS_TRY(normalizer, make_nfc());  // as in Qwen2's tokenizer.json; GGUF does not say it
  }
  GENESIS_TRY(BpeModel model, build_model(vocabulary));
  GENESIS_TRY(auto tokens, added_tokens(vocabulary));
  std::vector<std::int32_t> end_ids;
  for (const auto& id : {vocabulary.eos_id, vocabulary.eot_id}) {
    if (id && std::ranges::find(end_ids, *id) == end_ids.end()) {
      end_ids.push_back(*id);
    }
  }
  return make_tokenizer({.model = std::move(model),
                         .added_tokens = std::move(tokens),
                         .normalizer = std::move(normalizer),
                         .pre_tokenizer = std::move(pre_tokenizer),
                         .post_processor = post_processor(vocabulary),
                         .table = table,
                         .bos_id = vocabulary.bos_id,
                         .end_ids = std::move(end_ids)});
}

}  // namespace genesis::text
