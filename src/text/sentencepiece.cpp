#include "text/sentencepiece.h"

#include "text/bpe.h"
#include "text/pipeline.h"
#include "text/sentencepiece_normalizer.h"
#include "text/unigram.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

using Row = SentencePieces::Row;

std::unexpected<Error> bad(std::string message) {
  return fail_param("tokenizer.model", std::move(message), ErrorCode::kDataLoss);
}

std::optional<std::int32_t> unknown_id(const SentencePieces& pieces) {
  const auto found = std::ranges::find(pieces.rows, PieceType::kUnknown, &Row::type);
  return found == pieces.rows.end()
             ? std::nullopt
             : std::optional(static_cast<std::int32_t>(found - pieces.rows.begin()));
}

Result<std::unique_ptr<const TokenModel>> make_unigram(const SentencePieces& pieces) {
  UnigramSource source;
  for (const Row& row : pieces.rows) {
    // User-defined pieces are found before the model sees the text.
    source.pieces.push_back({row.text, row.score, row.type != PieceType::kNormal});
  }
  source.unknown_id = unknown_id(pieces);
  source.byte_fallback = pieces.byte_fallback;
  source.narrow_sums = true;
  GENESIS_TRY(UnigramModel model, UnigramModel::build(source));
  return std::make_unique<UnigramModel>(std::move(model));
}

ScoredSource::Kind scored_kind(PieceType type) {
  switch (type) {
    case PieceType::kNormal:
    case PieceType::kUserDefined:
      return ScoredSource::Kind::kNormal;
    case PieceType::kUnused:
      return ScoredSource::Kind::kUnused;
    case PieceType::kByte:
      return ScoredSource::Kind::kByte;
    case PieceType::kUnknown:
    case PieceType::kControl:
      break;
  }
  return ScoredSource::Kind::kOther;
}

Result<std::unique_ptr<const TokenModel>> make_bpe(const SentencePieces& pieces) {
  ScoredSource source;
  for (const Row& row : pieces.rows) {
    source.vocabulary.emplace_back(row.text, static_cast<std::int32_t>(source.scores.size()));
    source.scores.push_back(row.score);
    source.kinds.push_back(scored_kind(row.type));
  }
  source.unknown_id = unknown_id(pieces);
  source.byte_fallback = pieces.byte_fallback;
  GENESIS_TRY(BpeModel model, BpeModel::build(source));
  return std::make_unique<BpeModel>(std::move(model));
}

// Control pieces are special tokens of the raw text. User-defined ones are found in the normalized
// text, as sentencepiece does.
Result<std::vector<AddedToken>> added_tokens(const SentencePieces& pieces) {
  std::vector<AddedToken> out;
  for (std::size_t id = 0; id < pieces.rows.size(); ++id) {
    const Row& row = pieces.rows[id];
    const bool user_defined = row.type == PieceType::kUserDefined;
    if ((!user_defined && row.type != PieceType::kControl && row.type != PieceType::kUnknown) ||
        row.text.empty()) {
      continue;
    }
    if (out.size() == kMaxAddedTokens || row.text.size() > kMaxAddedTokenBytes) {
      return bad(fmt::format("piece {} is one added token too many, or too long", id));
    }
    AddedToken token;
    token.content = row.text;
    token.id = static_cast<std::int32_t>(id);
    token.special = !user_defined;
    token.normalized = user_defined;
    token.verbatim = user_defined;
    out.push_back(std::move(token));
  }
  return out;
}

Result<std::unique_ptr<const Normalizer>> make_normalizer(
    const SentencePieces& pieces,
    const std::vector<AddedToken>& added,
    const std::shared_ptr<const CharTable>& table) {
  std::optional<Charsmap> map;
  if (!pieces.precompiled_charsmap.empty()) {
    GENESIS_TRY(map, Charsmap::parse(pieces.precompiled_charsmap));
  }
  std::vector<AddedToken> kept;
  std::ranges::copy_if(added, std::back_inserter(kept), &AddedToken::verbatim);
  return std::make_unique<SentencePieceNormalizer>(
      SentencePieceNormalizer::Options{pieces.add_dummy_prefix,
                                       pieces.space_is_suffix,
                                       pieces.remove_extra_whitespaces,
                                       pieces.escape_whitespaces},
      std::move(map),
      TokenMatcher(std::move(kept), table));
}

Result<PostProcessor> post_processor(const SentencePieces& pieces, SentencePieceOptions options) {
  for (const auto& id : {pieces.bos_id, pieces.eos_id}) {
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= pieces.rows.size())) {
      return bad(
          fmt::format("BOS or EOS has id {}, but there are {} pieces", *id, pieces.rows.size()));
    }
  }
  std::vector<PostProcessor::Slot> slots;
  if (options.add_bos && pieces.bos_id) {
    slots.push_back({false, {*pieces.bos_id}});
  }
  slots.push_back({true, {}});
  if (options.add_eos && pieces.eos_id) {
    slots.push_back({false, {*pieces.eos_id}});
  }
  return PostProcessor(std::move(slots));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> make_sentencepiece(const SentencePieces& pieces,
                                                            SentencePieceOptions options) {
  const auto table = std::make_shared<const CharTable>();
  GENESIS_TRY(auto model,
              pieces.algorithm == SentencePieces::Algorithm::kBpe ? make_bpe(pieces)
                                                                  : make_unigram(pieces));
  GENESIS_TRY(auto added, added_tokens(pieces));
  GENESIS_TRY(auto normalizer, make_normalizer(pieces, added, table));
  GENESIS_TRY(auto post, post_processor(pieces, options));
  const bool strips =
      pieces.escape_whitespaces && (pieces.add_dummy_prefix || pieces.remove_extra_whitespaces);
  std::vector<std::int32_t> end_ids;
  if (pieces.eos_id) {
    end_ids.push_back(*pieces.eos_id);
  }
  return make_tokenizer({.model = std::move(model),
                         .added_tokens = std::move(added),
                         .normalizer = std::move(normalizer),
                         .pre_tokenizer = nullptr,
                         .post_processor = std::move(post),
                         .decoder = Decoder::pieces(strips),
                         .table = table,
                         .bos_id = pieces.bos_id,
                         .end_ids = std::move(end_ids)});
}

}  // namespace genesis::text
