// How a BpeModel comes about: vocabulary, merges, tables.
#include "text/bpe.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace genesis::text {

namespace {

std::unexpected<Error> bad_model(std::string message) {
  return fail_param("model", std::move(message), ErrorCode::kDataLoss);
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::uint64_t ranked(std::uint32_t rank, std::int32_t merged) {
  return static_cast<std::uint64_t>(rank) << 32 | static_cast<std::uint32_t>(merged);
}

bool is_one_character(std::string_view text) {
  return !text.empty() && decode_valid(text, 0).bytes == text.size();
}

// Longer pieces are never made by merging: all their ways to be cut would have to be tried.
constexpr std::size_t kMaxScoredPiece = 256;

}  // namespace

Result<BpeModel> BpeModel::build(const BpeSource& source) {
  const bool plain = source.continuing_prefix.empty() && source.word_suffix.empty();
  if (source.bytes && (!plain || source.byte_fallback)) {
    return bad_model("a byte-level model has no affixes and no byte_fallback");
  }
  GENESIS_TRY(
      Vocabulary vocabulary,
      Vocabulary::build(source.vocabulary,
                        source.bytes ? Vocabulary::Spelling::kBytes : Vocabulary::Spelling::kText));
  BpeModel model(std::move(vocabulary));
  model.prefix_ = source.continuing_prefix;
  model.suffix_ = source.word_suffix;
  model.bytes_ = source.bytes;
  model.byte_fallback_ = source.byte_fallback;
  model.fuse_unknown_ = source.fuse_unknown;
  model.ignore_merges_ = source.ignore_merges;
  GENESIS_TRY_VOID(model.add_merges(source));
  if (source.unknown_token) {
    const auto id = model.find(*source.unknown_token);
    if (!id) {
      return bad_model(
          fmt::format("the unknown token '{}' is not in the vocabulary", *source.unknown_token));
    }
    model.unknown_id_ = *id;
  }
  model.finish();
  return model;
}

Result<BpeModel> BpeModel::build(const ScoredSource& source) {
  GENESIS_TRY(Vocabulary vocabulary,
              Vocabulary::build(source.vocabulary, Vocabulary::Spelling::kText));
  BpeModel model(std::move(vocabulary));
  const auto size = static_cast<std::size_t>(model.size());
  if (source.scores.size() != size || source.kinds.size() != size) {
    return bad_model(fmt::format(
        "{} scores and {} kinds for {} pieces", source.scores.size(), source.kinds.size(), size));
  }
  model.bytes_ = false;
  model.settles_late_ = true;
  model.byte_fallback_ = source.byte_fallback;
  model.unknown_id_ = source.unknown_id.value_or(-1);
  model.add_scored_merges(source);
  model.finish();
  return model;
}

Result<void> BpeModel::add_merges(const BpeSource& source) {
  merges_.reserve(source.merges.size());
  std::uint32_t rank = 0;
  std::string whole;
  for (const auto& [left, right] : source.merges) {
    const bool has_prefix = !prefix_.empty() && right.size() >= prefix_.size();
    whole.assign(left).append(has_prefix ? right.substr(prefix_.size()) : right);
    const auto left_id = find(left);
    const auto right_id = find(right);
    const auto new_id = find(whole);
    if (!left_id || !right_id || !new_id) {
      return bad_model(
          fmt::format("merge {} ('{}' + '{}') speaks of '{}', which is not in the vocabulary",
                      rank,
                      left,
                      right,
                      !left_id ? left : (!right_id ? right : std::string_view(whole))));
    }
    merges_.set(pair_key(*left_id, *right_id), ranked(rank, *new_id));
    ++rank;
  }
  return {};
}

// Every way to cut a piece in two symbols is a merge. Equal scores get equal ranks: then the
// leftmost place wins, as there.
void BpeModel::add_scored_merges(const ScoredSource& source) {
  using Kind = ScoredSource::Kind;
  const auto mergeable = [&](std::int32_t id) {
    const Kind kind = source.kinds[static_cast<std::size_t>(id)];
    return kind == Kind::kNormal || kind == Kind::kUnused;
  };
  std::vector<float> scores = source.scores;
  std::erase_if(scores, [](float score) { return std::isnan(score); });
  std::ranges::sort(scores, std::ranges::greater());
  const auto duplicates = std::ranges::unique(scores);
  scores.erase(duplicates.begin(), duplicates.end());
  FlatMap extras(hash_seed());
  const auto symbol_of = [&](std::string_view text) {
    const std::int32_t id = vocabulary_.find_content(text);
    if (id >= 0 && mergeable(id)) {
      return id;
    }
    if (!is_one_character(text)) {
      return -1;
    }
    const char32_t c = decode_valid(text, 0).value;
    if (extras.get(c) == FlatMap::kAbsent) {
      extras.set(c, static_cast<std::uint64_t>(size()) + extra_characters_.size());
      extra_characters_.emplace_back(text);
    }
    return static_cast<std::int32_t>(extras.get(c));
  };
  for (std::int32_t id = 0; id < size(); ++id) {
    const std::string_view whole = vocabulary_.content(id);
    if (!mergeable(id) || is_one_character(whole) || whole.size() > kMaxScoredPiece) {
      continue;
    }
    const auto place = std::ranges::lower_bound(
        scores, source.scores[static_cast<std::size_t>(id)], std::ranges::greater());
    const auto rank = static_cast<std::uint32_t>(place - scores.begin());
    for (std::size_t cut = 0; cut < whole.size();) {
      cut += decode_valid(whole, cut).bytes;
      if (cut == whole.size()) {
        break;
      }
      const std::int32_t left = symbol_of(whole.substr(0, cut));
      const std::int32_t right = symbol_of(whole.substr(cut));
      if (left >= 0 && right >= 0) {
        merges_.set(pair_key(left, right), ranked(rank, id));
      }
    }
  }
  if (std::ranges::find(source.kinds, Kind::kUnused) != source.kinds.end()) {
    unused_.resize(source.kinds.size());
    for (std::size_t id = 0; id < unused_.size(); ++id) {
      unused_[id] = source.kinds[id] == Kind::kUnused;
    }
  }
  // What is not made by merging is not a symbol either.
  basic_ids_.assign(0x10000, -1);
  for (std::int32_t id = 0; id < size(); ++id) {
    if (is_one_character(vocabulary_.content(id)) && mergeable(id)) {
      const char32_t c = decode_valid(vocabulary_.content(id), 0).value;
      if (c < 0x10000) {
        basic_ids_[c] = id;
      } else {
        astral_ids_.set(c, static_cast<std::uint64_t>(id));
      }
    }
  }
}

void BpeModel::find_byte_tokens() {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = bytes_ ? vocabulary_.find_content(std::string_view(&c, 1)) : -1;
    byte_tokens_[byte] = byte_fallback_ ? find(fmt::format("<0x{:02X}>", byte)).value_or(-1) : -1;
  }
}

void BpeModel::index_characters() {
  const auto add = [&](char32_t c, std::int32_t id) {
    if (c < 0x10000) {
      basic_ids_[c] = id;
    } else {
      astral_ids_.set(c, static_cast<std::uint64_t>(id));
    }
  };
  if (!settles_late_) {
    basic_ids_.assign(0x10000, -1);
    for (std::int32_t id = 0; id < size(); ++id) {
      if (is_one_character(vocabulary_.content(id))) {
        add(decode_valid(vocabulary_.content(id), 0).value, id);
      }
    }
  }
  for (std::size_t i = 0; i < extra_characters_.size(); ++i) {
    add(decode_valid(extra_characters_[i], 0).value, size() + static_cast<std::int32_t>(i));
  }
}

void BpeModel::index_joins() {
  // 2^22 bits: a big vocabulary has some 150,000 different neighbours.
  joins_.assign(1U << 16, 0);
  for (std::int32_t id = 0; id < size(); ++id) {
    const std::string_view token = vocabulary_.content(id);
    for (std::size_t at = 0; at < token.size();) {
      const CodePoint left = decode_valid(token, at);
      at += left.bytes;
      if (at < token.size()) {
        const std::uint32_t bit = join_bit(left.value, decode_valid(token, at).value);
        joins_[bit >> 6] |= std::uint64_t{1} << (bit & 63);
      }
    }
  }
}

void BpeModel::finish() {
  find_byte_tokens();
  if (!bytes_) {
    index_characters();
    // How an unused piece is taken apart depends on the whole text.
    if (prefix_.empty() && suffix_.empty() && unused_.empty()) {
      index_joins();
    }
  }
  own_encoding_ = std::make_unique<std::atomic<std::uint8_t>[]>(static_cast<std::size_t>(size()));
}

}  // namespace genesis::text
