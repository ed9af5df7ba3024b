#include "text/model_json.h"

#include "base/json.h"
#include "text/bpe.h"
#include "text/unigram.h"
#include "text/word_models.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <utility>

namespace genesis::text {

namespace {

using Owned = std::unique_ptr<const TokenModel>;

constexpr std::string_view kPrefix = "model.";

std::unexpected<Error> bad(std::string param, std::string message) {
  return fail_param(std::move(param), std::move(message), ErrorCode::kDataLoss);
}

std::string_view view(const boost::json::string& text) {
  return {text.data(), text.size()};
}

Result<TokenList> read_vocabulary(const boost::json::object& model) {
  const boost::json::value* vocabulary = model.if_contains("vocab");
  if (vocabulary == nullptr || !vocabulary->is_object()) {
    return bad("model.vocab", "must be an object of token: id");
  }
  TokenList out;
  out.reserve(vocabulary->get_object().size());
  for (const auto& [token, id] : vocabulary->get_object()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() >= kMaxTokenId) {
      return bad("model.vocab",
                 fmt::format("the id of token '{}' is not between 0 and {}",
                             std::string_view(token),
                             kMaxTokenId - 1));
    }
    out.emplace_back(token, static_cast<std::int32_t>(id.get_int64()));
  }
  return out;
}

// Either "left right" or ["left", "right"].
Result<void> read_merge(const boost::json::value& merge, BpeSource& source) {
  if (merge.is_array() && merge.get_array().size() == 2 && merge.get_array()[0].is_string() &&
      merge.get_array()[1].is_string()) {
    source.merges.emplace_back(view(merge.get_array()[0].get_string()),
                               view(merge.get_array()[1].get_string()));
    return {};
  }
  if (merge.is_string()) {
    const std::string_view line = view(merge.get_string());
    const std::size_t space = line.find(' ');
    if (line.starts_with("#version")) {
      return {};
    }
    if (space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos) {
      source.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
      return {};
    }
  }
  return bad("model.merges", fmt::format("merge {} is not a pair of tokens", source.merges.size()));
}

// Its "dropout" is for training only, and not read: transformers encodes without it.
Result<Owned> parse_bpe(const boost::json::object& model, bool bytes) {
  BpeSource source;
  GENESIS_TRY(source.unknown_token, get_string(model, "unk_token", kPrefix));
  GENESIS_TRY(const auto prefix, get_string(model, "continuing_subword_prefix", kPrefix));
  GENESIS_TRY(const auto suffix, get_string(model, "end_of_word_suffix", kPrefix));
  GENESIS_TRY(const auto fuse, get_bool(model, "fuse_unk", kPrefix));
  GENESIS_TRY(const auto ignore, get_bool(model, "ignore_merges", kPrefix));
  GENESIS_TRY(const auto fallback, get_bool(model, "byte_fallback", kPrefix));
  source.continuing_prefix = prefix.value_or("");
  source.word_suffix = suffix.value_or("");
  source.bytes = bytes;
  source.fuse_unknown = fuse.value_or(false);
  source.ignore_merges = ignore.value_or(false);
  source.byte_fallback = fallback.value_or(false);
  GENESIS_TRY(source.vocabulary, read_vocabulary(model));
  const boost::json::value* merges = model.if_contains("merges");
  if (merges == nullptr || !merges->is_array()) {
    return bad("model.merges", "must be an array");
  }
  source.merges.reserve(merges->get_array().size());
  for (const boost::json::value& merge : merges->get_array()) {
    GENESIS_TRY_VOID(read_merge(merge, source));
  }
  GENESIS_TRY(BpeModel built, BpeModel::build(source));
  return std::make_unique<BpeModel>(std::move(built));
}

Result<Owned> parse_unigram(const boost::json::object& model) {
  UnigramSource source;
  GENESIS_TRY(const auto unknown, get_integer(model, "unk_id", kPrefix));
  GENESIS_TRY(const auto fallback, get_bool(model, "byte_fallback", kPrefix));
  if (unknown) {
    if (*unknown < 0 || *unknown >= kMaxTokenId) {
      return bad("model.unk_id", fmt::format("{} is no id", *unknown));
    }
    source.unknown_id = static_cast<std::int32_t>(*unknown);
  }
  source.byte_fallback = fallback.value_or(false);
  const boost::json::value* pieces = model.if_contains("vocab");
  if (pieces == nullptr || !pieces->is_array()) {
    return bad("model.vocab", "must be an array of [piece, score]");
  }
  source.pieces.reserve(pieces->get_array().size());
  for (const boost::json::value& piece : pieces->get_array()) {
    if (!piece.is_array() || piece.get_array().size() != 2 || !piece.get_array()[0].is_string() ||
        !piece.get_array()[1].is_number()) {
      return bad("model.vocab",
                 fmt::format("piece {} is not [piece, score]", source.pieces.size()));
    }
    source.pieces.push_back(
        {view(piece.get_array()[0].get_string()), piece.get_array()[1].to_number<double>()});
  }
  GENESIS_TRY(UnigramModel built, UnigramModel::build(source));
  return std::make_unique<UnigramModel>(std::move(built));
}

Result<Owned> parse_word_piece(const boost::json::object& model) {
  GENESIS_TRY(const auto unknown, get_string(model, "unk_token", kPrefix));
  GENESIS_TRY(const auto prefix, get_string(model, "continuing_subword_prefix", kPrefix));
  GENESIS_TRY(const auto most, get_integer(model, "max_input_chars_per_word", kPrefix));
  GENESIS_TRY(const TokenList tokens, read_vocabulary(model));
  GENESIS_TRY(Vocabulary vocabulary, Vocabulary::build(tokens, Vocabulary::Spelling::kText));
  if (most.value_or(100) < 0) {
    return bad("model.max_input_chars_per_word", "must not be negative");
  }
  return std::make_unique<WordPieceModel>(
      std::move(vocabulary),
      WordPieceModel::Options{unknown.value_or("[UNK]"),
                              prefix.value_or("##"),
                              static_cast<std::size_t>(most.value_or(100))});
}

Result<Owned> parse_word_level(const boost::json::object& model) {
  GENESIS_TRY(const auto unknown, get_string(model, "unk_token", kPrefix));
  GENESIS_TRY(const TokenList tokens, read_vocabulary(model));
  GENESIS_TRY(Vocabulary vocabulary, Vocabulary::build(tokens, Vocabulary::Spelling::kText));
  return std::make_unique<WordLevelModel>(std::move(vocabulary), unknown.value_or("<unk>"));
}

// Files of before version 0.9 do not say the type.
Result<std::string> type_of(const boost::json::object& model) {
  GENESIS_TRY(const auto type, get_string(model, "type", kPrefix));
  if (type) {
    return *type;
  }
  const boost::json::value* vocabulary = model.if_contains("vocab");
  if (model.contains("merges")) {
    return std::string("BPE");
  }
  return std::string(vocabulary != nullptr && vocabulary->is_array() ? "Unigram" : "null");
}

}  // namespace

bool takes_bytes(const boost::json::object& model) {
  const auto empty = [&](std::string_view key) {
    const boost::json::value* found = model.if_contains(key);
    return found == nullptr || found->is_null() ||
           (found->is_string() && found->get_string().empty());
  };
  const boost::json::value* fallback = model.if_contains("byte_fallback");
  const bool falls_back = fallback != nullptr && fallback->is_bool() && fallback->get_bool();
  const auto type = type_of(model);
  return type && *type == "BPE" && empty("continuing_subword_prefix") &&
         empty("end_of_word_suffix") && !falls_back;
}

Result<Owned> parse_model(const boost::json::object& model, bool bytes) {
  GENESIS_TRY(const std::string type, type_of(model));
  if (type == "BPE") {
    return parse_bpe(model, bytes);
  }
  if (type == "Unigram") {
    return parse_unigram(model);
  }
  if (type == "WordPiece") {
    return parse_word_piece(model);
  }
  if (type == "WordLevel") {
    return parse_word_level(model);
  }
  return fail_param(
      "model.type", fmt::format("model '{}' is not supported", type), ErrorCode::kUnsupported);
}

}  // namespace genesis::text
