// GGUF metadata -> text assets (keys as llama.cpp's gguf-py constants.py lists them).
#include "model/text_assets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {
namespace {

using weights::TensorFile;

template <typename T>
const T* metadata_as(const TensorFile& file, std::string_view key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? nullptr : std::get_if<T>(&found->second);
}

std::optional<std::int32_t> token_at(const TensorFile& file,
                                     std::string_view key,
                                     std::size_t tokens) {
  const std::optional<std::int64_t> id = weights::metadata_integer(file, key);
  if (!id || *id < 0 || *id >= static_cast<std::int64_t>(tokens)) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(*id);
}

// llama.cpp, llama_vocab::impl::load: who begins with BOS though the file does not say so.
bool adds_bos_unasked(const text::GgufVocabulary& vocabulary) {
  constexpr std::array<std::string_view, 5> kPre = {
      "llama3", "llama-v3", "llama-bpe", "pixtral", "tekken"};
  return vocabulary.model == "llama" || vocabulary.model == "gemma" ||
         (vocabulary.model == "gpt2" && std::ranges::find(kPre, vocabulary.pre) != kPre.end());
}

// What models of sentencepiece's kind have besides.
Result<void> read_piece_settings(const TensorFile& file, text::GgufVocabulary& out) {
  if (const auto* scores = metadata_as<std::vector<double>>(file, "tokenizer.ggml.scores")) {
    if (scores->size() != out.tokens.size()) {
      return fail_param("tokenizer.ggml.scores",
                        fmt::format("{} scores for {} tokens", scores->size(), out.tokens.size()),
                        ErrorCode::kDataLoss);
    }
    for (const double score : *scores) {
      out.scores.push_back(static_cast<float>(score));
    }
  }
  out.add_space_prefix =
      weights::metadata_bool(file, "tokenizer.ggml.add_space_prefix").value_or(true);
  out.remove_extra_whitespaces =
      weights::metadata_bool(file, "tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  if (const auto* map =
          metadata_as<std::vector<std::int64_t>>(file, "tokenizer.ggml.precompiled_charsmap")) {
    for (const std::int64_t byte : *map) {
      out.precompiled_charsmap.push_back(static_cast<char>(byte));
    }
  }
  return {};
}

}  // namespace

Result<text::GgufVocabulary> vocabulary_from_gguf(const TensorFile& file) {
  const auto* tokens = metadata_as<std::vector<std::string>>(file, "tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty()) {
    return fail_param("tokenizer.ggml.tokens",
                      "the file holds no vocabulary (tokenizer.ggml.tokens)",
                      ErrorCode::kDataLoss);
  }
  text::GgufVocabulary out;
  out.model = weights::metadata_string(file, "tokenizer.ggml.model").value_or("");
  out.pre = weights::metadata_string(file, "tokenizer.ggml.pre").value_or("");
  out.tokens = *tokens;
  if (const auto* types =
          metadata_as<std::vector<std::int64_t>>(file, "tokenizer.ggml.token_type")) {
    if (types->size() != tokens->size()) {
      return fail_param("tokenizer.ggml.token_type",
                        fmt::format("{} token types for {} tokens", types->size(), tokens->size()),
                        ErrorCode::kDataLoss);
    }
    for (const std::int64_t type : *types) {
      out.token_types.push_back(type >= 1 && type <= 6 ? static_cast<std::int32_t>(type) : 1);
    }
  }
  if (const auto* merges = metadata_as<std::vector<std::string>>(file, "tokenizer.ggml.merges")) {
    out.merges = *merges;
  }
  out.bos_id = token_at(file, "tokenizer.ggml.bos_token_id", tokens->size());
  out.eos_id = token_at(file, "tokenizer.ggml.eos_token_id", tokens->size());
  out.eot_id = token_at(file, "tokenizer.ggml.eot_token_id", tokens->size());
  out.unknown_id = token_at(file, "tokenizer.ggml.unknown_token_id", tokens->size());
  out.padding_id = token_at(file, "tokenizer.ggml.padding_token_id", tokens->size());
  if (out.model == "bert") {  // keys of its own, and always around a text
    out.bos_id = token_at(file, "tokenizer.ggml.cls_token_id", tokens->size());
    out.eos_id = token_at(file, "tokenizer.ggml.seperator_token_id", tokens->size());
    out.add_bos = out.bos_id.has_value();
    out.add_eos = out.eos_id.has_value();
    return out;
  }
  out.add_bos = weights::metadata_bool(file, "tokenizer.ggml.add_bos_token")
                    .value_or(out.bos_id.has_value() && adds_bos_unasked(out));
  out.add_eos = weights::metadata_bool(file, "tokenizer.ggml.add_eos_token").value_or(false);
  GENESIS_TRY_VOID(read_piece_settings(file, out));
  return out;
}

Result<engine::TextAssets> text_assets_from_gguf(const TensorFile& file) {
  GENESIS_TRY(const text::GgufVocabulary vocabulary, vocabulary_from_gguf(file));
  engine::TextAssets assets;
  GENESIS_TRY(assets.tokenizer, text::Tokenizer::from_gguf(vocabulary));
  const auto token_text = [&](const std::optional<std::int32_t>& id) {
    return id ? vocabulary.tokens[static_cast<std::size_t>(*id)] : std::string();
  };
  assets.bos_token = token_text(vocabulary.bos_id);
  assets.eos_token = token_text(vocabulary.eos_id);
  if (const auto source = weights::metadata_string(file, "tokenizer.chat_template")) {
    GENESIS_TRY(text::ChatTemplate chat_template, text::ChatTemplate::parse(*source));
    assets.chat_template = std::make_shared<const text::ChatTemplate>(std::move(chat_template));
  }
  return assets;
}

}  // namespace genesis::model
