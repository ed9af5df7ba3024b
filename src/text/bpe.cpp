// The merge loop and its data. Semantics follow the `tokenizers` package (models/bpe): lowest rank
// first, leftmost among equals, bytes without a token become the unknown token or vanish.
#include "text/bpe.h"

#include "base/random.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace genesis::text {

namespace {

// Up to this many symbols a scan for the best pair beats the heap.
constexpr std::size_t kShortWord = 24;
constexpr std::size_t kMaxTokenBytes = 64 * 1024;

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::uint32_t rank_of(std::uint64_t merge) {
  return static_cast<std::uint32_t>(merge >> 32);
}

std::int32_t merged_id(std::uint64_t merge) {
  return static_cast<std::int32_t>(merge & 0xFFFFFFFF);
}

std::unexpected<Error> bad_model(std::string message) {
  return fail_param("model", std::move(message), ErrorCode::kDataLoss);
}

}  // namespace

void TokenIndex::reserve(std::size_t count) {
  slots_.assign(std::bit_ceil(count * 2 + 8), -1);
}

std::size_t TokenIndex::start(std::string_view content) const {
  std::uint64_t hash = seed_ ^ content.size() * 0x9E3779B97F4A7C15ULL;
  for (std::size_t at = 0; at < content.size(); at += 8) {
    std::uint64_t chunk = 0;
    std::memcpy(&chunk, content.data() + at, std::min<std::size_t>(8, content.size() - at));
    hash = (hash ^ chunk) * 0xD6E8FEB86659FD93ULL;
    hash ^= hash >> 29 ^ seed_;
  }
  hash *= 0xBF58476D1CE4E5B9ULL;
  return static_cast<std::size_t>(hash ^ hash >> 31) & (slots_.size() - 1);
}

bool TokenIndex::insert(std::int32_t id, const std::vector<std::string>& contents) {
  const std::string& content = contents[static_cast<std::size_t>(id)];
  std::size_t at = start(content);
  while (slots_[at] >= 0) {
    if (contents[static_cast<std::size_t>(slots_[at])] == content) {
      return false;
    }
    at = (at + 1) & (slots_.size() - 1);
  }
  slots_[at] = id;
  return true;
}

std::int32_t TokenIndex::find(std::string_view content,
                              const std::vector<std::string>& contents) const {
  std::size_t at = start(content);
  while (slots_[at] >= 0 && contents[static_cast<std::size_t>(slots_[at])] != content) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return slots_[at];
}

Result<BpeModel> BpeModel::build(const BpeSource& source) {
  std::uint64_t seed = 0;
  std::array<std::uint8_t, sizeof seed> random{};
  secure_random_bytes(random);
  std::memcpy(&seed, random.data(), sizeof seed);

  BpeModel model(seed);
  model.fuse_unknown_ = source.fuse_unknown;
  model.ignore_merges_ = source.ignore_merges;
  GENESIS_TRY_VOID(model.add_vocabulary(source));
  GENESIS_TRY_VOID(model.add_merges(source));
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    model.byte_ids_[byte] = model.words_.find(std::string_view(&c, 1), model.contents_);
  }
  if (source.unknown_token) {
    const auto id = model.find(*source.unknown_token);
    if (!id) {
      return bad_model(
          fmt::format("the unknown token '{}' is not in the vocabulary", *source.unknown_token));
    }
    model.unknown_id_ = *id;
  }
  const auto size = static_cast<std::size_t>(model.size());
  model.own_encoding_ = std::make_unique<std::atomic<std::uint8_t>[]>(size);
  return model;
}

Result<void> BpeModel::add_vocabulary(const BpeSource& source) {
  std::int32_t highest = -1;
  for (const auto& [token, id] : source.vocabulary) {
    if (id < 0 || id >= kMaxTokenId) {
      return bad_model(
          fmt::format("token '{}' has id {}, outside 0 to {}", token, id, kMaxTokenId - 1));
    }
    if (token.size() > kMaxTokenBytes || !is_valid_utf8(token)) {
      return bad_model(
          fmt::format("token {} is not UTF-8 text of at most {} bytes", id, kMaxTokenBytes));
    }
    highest = std::max(highest, id);
  }
  contents_.resize(static_cast<std::size_t>(highest + 1));
  present_.resize(contents_.size());
  words_.reserve(source.vocabulary.size());
  others_.reserve(source.vocabulary.size());
  token_count_ = static_cast<std::int32_t>(source.vocabulary.size());
  for (const auto& [token, id] : source.vocabulary) {
    const auto at = static_cast<std::size_t>(id);
    if (present_[at] != 0) {
      return bad_model(fmt::format("id {} belongs to two tokens, one of them '{}'", id, token));
    }
    present_[at] = 1;
    std::optional<std::string> bytes = alphabet_.to_bytes(token);
    TokenIndex& index = bytes ? words_ : others_;
    contents_[at] = bytes ? std::move(*bytes) : std::string(token);
    if (!index.insert(id, contents_)) {
      return bad_model(fmt::format("token '{}' is in the vocabulary twice", token));
    }
  }
  return {};
}

Result<void> BpeModel::add_merges(const BpeSource& source) {
  merges_.reserve(source.merges.size());
  std::uint32_t rank = 0;
  std::string whole;
  for (const auto& [left, right] : source.merges) {
    whole.assign(left).append(right);
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
    merges_.set(pair_key(*left_id, *right_id),
                static_cast<std::uint64_t>(rank) << 32 | static_cast<std::uint32_t>(*new_id));
    ++rank;
  }
  return {};
}

std::optional<std::int32_t> BpeModel::find(std::string_view token) const {
  if (!is_valid_utf8(token)) {
    return std::nullopt;
  }
  const std::optional<std::string> bytes = alphabet_.to_bytes(token);
  const std::int32_t id = bytes ? words_.find(*bytes, contents_) : others_.find(token, contents_);
  return id < 0 ? std::nullopt : std::optional(id);
}

void BpeModel::encode_word(std::string_view word,
                           Scratch& scratch,
                           std::vector<std::int32_t>& out) const {
  const std::int32_t whole = words_.find(word, contents_);
  if (whole >= 0 && (ignore_merges_ || is_own_encoding(whole, scratch))) {
    out.push_back(whole);
    return;
  }
  merge(word, scratch);
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

bool BpeModel::is_own_encoding(std::int32_t id, Scratch& scratch) const {
  std::atomic<std::uint8_t>& state = own_encoding_[static_cast<std::size_t>(id)];
  const std::uint8_t known = state.load(std::memory_order_relaxed);
  if (known != 0) {
    return known == 1;
  }
  merge(contents_[static_cast<std::size_t>(id)], scratch);
  const bool own = scratch.ids.size() == 1 && scratch.ids.front() == id;
  state.store(own ? 1 : 2, std::memory_order_relaxed);
  return own;
}

void BpeModel::merge(std::string_view word, Scratch& scratch) const {
  start_symbols(word, scratch.ids);
  if (scratch.ids.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
}

void BpeModel::start_symbols(std::string_view word, std::vector<std::int32_t>& ids) const {
  ids.clear();
  bool after_unknown = false;
  for (const char c : word) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id >= 0) {
      ids.push_back(id);
      after_unknown = false;
    } else if (unknown_id_ >= 0) {
      if (!after_unknown || !fuse_unknown_) {
        ids.push_back(unknown_id_);
      }
      after_unknown = true;
    }
  }
}

// Keeps the merge of each neighbouring pair, takes the best, closes the gap.
void BpeModel::merge_short(Scratch& scratch) const {
  std::vector<std::int32_t>& ids = scratch.ids;
  std::vector<std::uint64_t>& pairs = scratch.pairs;
  pairs.clear();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    pairs.push_back(merges_.get(pair_key(ids[i], ids[i + 1])));
  }
  while (!pairs.empty()) {
    const auto best =
        std::min_element(pairs.begin(), pairs.end(), [](std::uint64_t a, std::uint64_t b) {
          return a >> 32 < b >> 32;
        });
    if (*best == FlatMap::kAbsent) {
      return;
    }
    const auto at = static_cast<std::size_t>(best - pairs.begin());
    ids[at] = merged_id(*best);
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    pairs.erase(best);
    if (at > 0) {
      pairs[at - 1] = merges_.get(pair_key(ids[at - 1], ids[at]));
    }
    if (at < pairs.size()) {
      pairs[at] = merges_.get(pair_key(ids[at], ids[at + 1]));
    }
  }
}

// Linked list of symbols and a heap of candidate merges; entries that no longer fit are skipped.
void BpeModel::merge_long(Scratch& scratch) const {
  using Merge = Scratch::Merge;
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  std::vector<Merge>& heap = scratch.heap;
  const auto later = [](const Merge& a, const Merge& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto symbol = [&](std::int32_t i) -> Scratch::Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  const auto candidate = [&](std::int32_t left, std::int32_t right) {
    const std::uint64_t found = merges_.get(pair_key(symbol(left).id, symbol(right).id));
    if (found != FlatMap::kAbsent) {
      heap.push_back({rank_of(found), left, merged_id(found)});
      std::push_heap(heap.begin(), heap.end(), later);
    }
  };

  const auto count = static_cast<std::int32_t>(scratch.ids.size());
  symbols.clear();
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t id = scratch.ids[static_cast<std::size_t>(i)];
    symbols.push_back({id, i - 1, i + 1 < count ? i + 1 : -1, true});
  }
  for (std::int32_t i = 0; i + 1 < count; ++i) {
    candidate(i, i + 1);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Merge top = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbol(top.position);
    if (!left.live || left.next < 0) {
      continue;
    }
    Scratch::Symbol& right = symbol(left.next);
    const std::uint64_t current = merges_.get(pair_key(left.id, right.id));
    if (current == FlatMap::kAbsent || merged_id(current) != top.new_id) {
      continue;
    }
    left.id = top.new_id;
    right.live = false;
    left.next = right.next;
    if (left.next >= 0) {
      symbol(left.next).previous = top.position;
      candidate(top.position, left.next);
    }
    if (left.previous >= 0) {
      candidate(left.previous, top.position);
    }
  }
  scratch.ids.clear();
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbol(i).next) {
    scratch.ids.push_back(symbol(i).id);
  }
}

}  // namespace genesis::text
