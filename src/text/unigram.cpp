// Semantics: tokenizers, models/unigram/model.rs, encode_optimized; sentencepiece,
// src/unigram_model.cc, EncodeOptimized.
#include "text/unigram.h"

#include "text/unicode.h"
#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace genesis::text {

namespace {

// What an unknown character costs more than the worst piece (kUnkPenalty in both sources).
constexpr double kUnknownPenalty = 10.0;
constexpr std::size_t kMaxPieceBytes = 64 * 1024;

std::unexpected<Error> bad_model(std::string message) {
  return fail_param("model.vocab", std::move(message), ErrorCode::kDataLoss);
}

}  // namespace

UnigramModel::UnigramModel() : edges_(hash_seed()), ends_(1, -1) {
  roots_.fill(FlatMap::kAbsent);
  byte_tokens_.fill(-1);
}

Result<UnigramModel> UnigramModel::build(const UnigramSource& source) {
  UnigramModel model;
  GENESIS_TRY_VOID(model.add(source));
  return model;
}

Result<void> UnigramModel::add(const UnigramSource& source) {
  if (source.pieces.size() > static_cast<std::size_t>(kMaxTokenId)) {
    return bad_model(fmt::format("{} pieces; at most {}", source.pieces.size(), kMaxTokenId));
  }
  if (source.unknown_id && (*source.unknown_id < 0 ||
                            static_cast<std::size_t>(*source.unknown_id) >= source.pieces.size())) {
    return bad_model(fmt::format("unk_id {} is no piece", *source.unknown_id));
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& row : source.pieces) {
    if (row.text.size() > kMaxPieceBytes || !is_valid_utf8(row.text) || !std::isfinite(row.score)) {
      return bad_model(
          fmt::format("piece {} is not short UTF-8 text with a finite score", pieces_.size()));
    }
    pieces_.emplace_back(row.text);
    scores_.push_back(row.score);
    ids_[pieces_.back()] = size() - 1;
    lowest = row.hidden ? lowest : std::min(lowest, row.score);
  }
  for (std::size_t id = 0; id < source.pieces.size(); ++id) {
    if (!source.pieces[id].hidden && !pieces_[id].empty()) {
      add_to_trie(static_cast<std::int32_t>(id));
    }
  }
  unknown_score_ = std::isfinite(lowest) ? lowest - kUnknownPenalty : -kUnknownPenalty;
  unknown_id_ = source.unknown_id.value_or(-1);
  byte_fallback_ = source.byte_fallback;
  narrow_sums_ = source.narrow_sums;
  for (std::size_t byte = 0; byte_fallback_ && byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  return {};
}

void UnigramModel::add_to_trie(std::int32_t id) {
  std::uint64_t node = 0;
  for (const char c : pieces_[static_cast<std::size_t>(id)]) {
    std::uint64_t next = child(node, c);
    if (next == FlatMap::kAbsent) {
      next = ends_.size();
      ends_.push_back(-1);
      if (node == 0) {
        roots_[static_cast<unsigned char>(c)] = next;
      } else {
        edges_.set(node << 8 | static_cast<unsigned char>(c), next);
      }
    }
    node = next;
  }
  ends_[node] = id;
}

std::uint64_t UnigramModel::child(std::uint64_t node, char c) const {
  const auto byte = static_cast<unsigned char>(c);
  return node == 0 ? roots_[byte] : edges_.get(node << 8 | byte);
}

std::optional<std::int32_t> UnigramModel::find(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

void UnigramModel::reach(ModelScratch::Node& node, const ModelScratch::Node& candidate) const {
  if (node.begin >= 0 && candidate.score <= node.score) {
    return;
  }
  node = candidate;
  if (narrow_sums_) {
    node.score = static_cast<float>(node.score);
  }
}

// Fills scratch.nodes: by place in the word, the best last token of a path to it.
void UnigramModel::find_path(std::string_view word, ModelScratch& scratch) const {
  std::vector<ModelScratch::Node>& nodes = scratch.nodes;
  nodes.assign(word.size() + 1, {0.0, -1, -1});
  for (std::size_t begin = 0; begin < word.size();) {
    const double so_far = nodes[begin].score;
    const std::size_t character = decode_valid(word, begin).bytes;
    bool has_character = false;
    std::uint64_t node = 0;
    for (std::size_t at = begin; at < word.size(); ++at) {
      node = child(node, word[at]);
      if (node == FlatMap::kAbsent) {
        break;
      }
      const std::int32_t id = ends_[node];
      if (id < 0) {
        continue;
      }
      const double score = scores_[static_cast<std::size_t>(id)] + so_far;
      reach(nodes[at + 1], {score, id, static_cast<std::int32_t>(begin)});
      has_character = has_character || at + 1 == begin + character;
    }
    if (!has_character) {
      double score = unknown_score_ + so_far;
      score = narrow_sums_ ? static_cast<double>(static_cast<float>(score)) : score;
      reach(nodes[begin + character], {score, unknown_id_, static_cast<std::int32_t>(begin)});
    }
    begin += character;
  }
}

// Calls `emit` for every token in order; neighbours that are unknown come as one.
template <typename Emit>
void UnigramModel::walk_path(std::string_view word, ModelScratch& scratch, Emit emit) const {
  find_path(word, scratch);
  scratch.ids.clear();  // places where tokens end, from the back
  for (auto at = static_cast<std::int32_t>(word.size()); at > 0;
       at = scratch.nodes[static_cast<std::size_t>(at)].begin) {
    scratch.ids.push_back(at);
  }
  std::size_t begin = 0;
  for (auto place = scratch.ids.rbegin(); place != scratch.ids.rend(); ++place) {
    const auto end = static_cast<std::size_t>(*place);
    const std::int32_t id = scratch.nodes[end].id;
    const auto next = std::next(place);
    if (id != unknown_id_) {
      emit(id, begin, end, false);
      begin = end;
      continue;
    }
    if (next != scratch.ids.rend() &&
        scratch.nodes[static_cast<std::size_t>(*next)].id == unknown_id_) {
      continue;
    }
    const std::string_view unknown = word.substr(begin, end - begin);
    const auto token_of = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
    if (const auto known = find(unknown); known && !narrow_sums_) {
      emit(*known, begin, end, false);
    } else if (byte_fallback_ &&
               std::ranges::all_of(unknown, [&](char c) { return token_of(c) >= 0; })) {
      for (const char c : unknown) {
        emit(token_of(c), begin, end, false);
      }
    } else if (unknown_id_ >= 0) {
      emit(unknown_id_, begin, end, true);
    }
    begin = end;
  }
}

void UnigramModel::encode(std::string_view word,
                          ModelScratch& scratch,
                          std::vector<std::int32_t>& out) const {
  walk_path(
      word, scratch, [&](std::int32_t id, std::size_t, std::size_t, bool) { out.push_back(id); });
}

void UnigramModel::encode_spans(std::string_view word,
                                ModelScratch& scratch,
                                std::vector<TokenSpan>& out) const {
  walk_path(word, scratch, [&](std::int32_t id, std::size_t begin, std::size_t end, bool literal) {
    out.push_back({id, begin, end, literal});
  });
}

}  // namespace genesis::text
