// The merge loop. Semantics follow the `tokenizers` package (models/bpe): lowest rank first,
// leftmost among equals, symbols without a token become the unknown token or vanish.
#include "text/bpe.h"

#include "text/unicode.h"

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

// Up to this many symbols a scan for the best pair beats the heap.
constexpr std::size_t kShortWord = 24;

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

void add_symbol(std::int32_t id, std::size_t bytes, ModelScratch& scratch) {
  scratch.ids.push_back(id);
  scratch.lengths.push_back(static_cast<std::uint32_t>(bytes));
}

}  // namespace

std::int32_t BpeModel::character_id(char32_t c) const {
  if (c < basic_ids_.size()) {
    return basic_ids_[c];
  }
  const std::uint64_t id = astral_ids_.get(c);
  return id == FlatMap::kAbsent ? -1 : static_cast<std::int32_t>(id);
}

bool BpeModel::may_join(char32_t left, char32_t right) const {
  const std::uint32_t bit = join_bit(left, right);
  if ((joins_[bit >> 6] >> (bit & 63) & 1) != 0) {
    return true;
  }
  // Unknown neighbours may become one unknown token.
  const auto unknown = [&](char32_t c) {
    const std::int32_t id = character_id(c);
    return id < 0 || id >= size();
  };
  return !(byte_fallback_ && settles_late_) && (unknown(left) || unknown(right));
}

void BpeModel::encode(std::string_view word,
                      ModelScratch& scratch,
                      std::vector<std::int32_t>& out) const {
  if (joins_.empty()) {
    encode_part(word, scratch, out);
    return;
  }
  if (ignore_merges_) {
    if (const std::int32_t whole = vocabulary_.find_content(word); whole >= 0) {
      out.push_back(whole);
      return;
    }
  }
  std::size_t begin = 0;
  char32_t last = 0;
  for (std::size_t at = 0; at < word.size();) {
    const CodePoint point = decode_valid(word, at);
    if (at > begin && !may_join(last, point.value)) {
      encode_part(word.substr(begin, at - begin), scratch, out);
      begin = at;
    }
    last = point.value;
    at += point.bytes;
  }
  encode_part(word.substr(begin), scratch, out);
}

void BpeModel::encode_part(std::string_view word,
                           ModelScratch& scratch,
                           std::vector<std::int32_t>& out) const {
  if (prefix_.empty() && suffix_.empty()) {
    const std::int32_t whole = vocabulary_.find_content(word);
    if (whole >= 0 && ((ignore_merges_ && bytes_) || is_own_encoding(whole, scratch))) {
      out.push_back(whole);
      return;
    }
  } else if (ignore_merges_) {
    if (const std::int32_t whole = vocabulary_.find_content(word); whole >= 0) {
      out.push_back(whole);
      return;
    }
  }
  merge(word, scratch);
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

bool BpeModel::is_own_encoding(std::int32_t id, ModelScratch& scratch) const {
  std::atomic<std::uint8_t>& state = own_encoding_[static_cast<std::size_t>(id)];
  const std::uint8_t known = state.load(std::memory_order_relaxed);
  if (known != 0) {
    return known == 1;
  }
  merge(vocabulary_.content(id), scratch);
  const bool own = scratch.ids.size() == 1 && scratch.ids.front() == id;
  state.store(own ? 1 : 2, std::memory_order_relaxed);
  return own;
}

void BpeModel::encode_spans(std::string_view word,
                            ModelScratch& scratch,
                            std::vector<TokenSpan>& out) const {
  if (ignore_merges_) {
    if (const std::int32_t whole = vocabulary_.find_content(word); whole >= 0) {
      out.push_back({whole, 0, word.size()});
      return;
    }
  }
  start(word, scratch);
  merge_long(scratch);
  settle(scratch);
  std::size_t at = 0;
  for (std::size_t i = 0; i < scratch.ids.size(); ++i) {
    out.push_back({scratch.ids[i], at, at + scratch.lengths[i]});
    at += scratch.lengths[i];
  }
}

void BpeModel::merge(std::string_view word, ModelScratch& scratch) const {
  start(word, scratch);
  if (scratch.ids.size() <= kShortWord && !settles_late_) {
    merge_short(scratch);
    return;
  }
  if (scratch.ids.size() <= kShortWord && unused_.empty()) {
    merge_short(scratch);
    // Nothing but the ids is asked for; the lengths need not be right.
    scratch.lengths.resize(scratch.ids.size());
  } else {
    merge_long(scratch);
  }
  settle(scratch);
}

void BpeModel::start(std::string_view word, ModelScratch& scratch) const {
  scratch.ids.clear();
  scratch.lengths.clear();
  scratch.splits.clear();
  if (bytes_) {
    start_bytes(word, scratch);
  } else if (prefix_.empty() && suffix_.empty()) {
    start_characters(word, scratch);
  } else {
    start_affixed(word, scratch);
  }
}

void BpeModel::start_bytes(std::string_view word, ModelScratch& scratch) const {
  for (std::size_t at = 0; at < word.size(); ++at) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(word[at])];
    add_first_symbol({id, word.substr(at, 1), 1}, scratch);
  }
  flush_unknown(scratch);
}

void BpeModel::start_characters(std::string_view word, ModelScratch& scratch) const {
  for (std::size_t at = 0; at < word.size();) {
    const CodePoint point = decode_valid(word, at);
    add_first_symbol({character_id(point.value), word.substr(at, point.bytes), point.bytes},
                     scratch);
    at += point.bytes;
  }
  flush_unknown(scratch);
}

void BpeModel::start_affixed(std::string_view word, ModelScratch& scratch) const {
  std::string symbol;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t bytes = decode_valid(word, at).bytes;
    symbol.assign(at > 0 ? prefix_ : std::string());
    symbol.append(word.substr(at, bytes));
    symbol.append(at + bytes == word.size() ? suffix_ : std::string());
    add_first_symbol({vocabulary_.find_content(symbol), symbol, bytes}, scratch);
    at += bytes;
  }
  flush_unknown(scratch);
}

// An unknown symbol waits for the next known one, so that neighbours can fuse. Byte tokens overtake
// it, as in the package.
void BpeModel::add_first_symbol(const FirstSymbol& symbol, ModelScratch& scratch) const {
  if (symbol.id >= 0) {
    if (scratch.waiting_unknown != 0) {
      flush_unknown(scratch);
    }
    add_symbol(symbol.id, symbol.bytes, scratch);
    return;
  }
  if (add_byte_tokens(symbol.text, scratch) || unknown_id_ < 0) {
    return;
  }
  if (!fuse_unknown_) {
    flush_unknown(scratch);
  }
  scratch.waiting_unknown += static_cast<std::uint32_t>(symbol.bytes);
}

void BpeModel::flush_unknown(ModelScratch& scratch) const {
  if (scratch.waiting_unknown != 0) {
    add_symbol(unknown_id_, std::exchange(scratch.waiting_unknown, 0), scratch);
  }
}

bool BpeModel::add_byte_tokens(std::string_view symbol, ModelScratch& scratch) const {
  const auto token_of = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  if (!byte_fallback_ || std::ranges::any_of(symbol, [&](char c) { return token_of(c) < 0; })) {
    return false;
  }
  for (const char c : symbol) {
    add_symbol(token_of(c), 1, scratch);
  }
  return true;
}

// Keeps the merge of each neighbouring pair, takes the best, closes the gap.
void BpeModel::merge_short(ModelScratch& scratch) const {
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

// A heap of candidate merges over a linked list. An entry whose symbols have changed is skipped,
// unless the pair standing there now merges to the same token (as the package does).
void BpeModel::merge_long(ModelScratch& scratch) const {
  using Merge = ModelScratch::Merge;
  std::vector<ModelScratch::Symbol>& symbols = scratch.symbols;
  std::vector<Merge>& heap = scratch.heap;
  const auto later = [](const Merge& a, const Merge& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto symbol = [&](std::int32_t at) -> ModelScratch::Symbol& {
    return symbols[static_cast<std::size_t>(at)];
  };
  const auto candidate = [&](std::int32_t left, std::int32_t right) {
    const std::uint64_t found = merges_.get(pair_key(symbol(left).id, symbol(right).id));
    if (found == FlatMap::kAbsent) {
      return;
    }
    heap.push_back({rank_of(found), left, merged_id(found)});
    std::push_heap(heap.begin(), heap.end(), later);
    if (!unused_.empty() && unused_[static_cast<std::size_t>(merged_id(found))]) {
      scratch.splits.emplace_back(merged_id(found),
                                  ModelScratch::Split{symbol(left).id, symbol(right).id});
    }
  };

  const auto count = static_cast<std::int32_t>(scratch.ids.size());
  symbols.clear();
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    symbols.push_back({scratch.ids[at], i - 1, i + 1 < count ? i + 1 : -1, scratch.lengths[at]});
  }
  for (std::int32_t i = 0; i + 1 < count; ++i) {
    candidate(i, i + 1);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Merge top = heap.back();
    heap.pop_back();
    ModelScratch::Symbol& left = symbol(top.position);
    if (left.bytes == 0 || left.next < 0) {
      continue;
    }
    ModelScratch::Symbol& right = symbol(left.next);
    const std::uint64_t current = merges_.get(pair_key(left.id, right.id));
    if (current == FlatMap::kAbsent || merged_id(current) != top.new_id) {
      continue;
    }
    left.id = top.new_id;
    left.bytes += right.bytes;
    right.bytes = 0;
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
  scratch.lengths.clear();
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbol(i).next) {
    add_symbol(symbol(i).id, symbol(i).bytes, scratch);
  }
}

// Scored models: what is no token yet, or no token to give out, becomes some.
void BpeModel::settle(ModelScratch& scratch) const {
  if (!settles_late_) {
    return;
  }
  const auto settled = [&](std::int32_t id) {
    return id >= 0 && id < size() && id != unknown_id_ &&
           (unused_.empty() || !unused_[static_cast<std::size_t>(id)]);
  };
  if (std::ranges::all_of(scratch.ids, settled)) {
    return;
  }
  const std::vector<std::int32_t> ids = std::exchange(scratch.ids, {});
  const std::vector<std::uint32_t> lengths = std::exchange(scratch.lengths, {});
  for (std::size_t i = 0; i < ids.size(); ++i) {
    settle_one(ids[i], lengths[i], scratch);
  }
}

void BpeModel::settle_one(std::int32_t id, std::uint32_t bytes, ModelScratch& scratch) const {
  if (id >= size()) {
    const std::string& character = extra_characters_[static_cast<std::size_t>(id - size())];
    if (!add_byte_tokens(character, scratch)) {
      settle_one(unknown_id_, bytes, scratch);
    }
    return;
  }
  if (id == unknown_id_ && !scratch.ids.empty() && scratch.ids.back() == unknown_id_) {
    scratch.lengths.back() += bytes;  // unknown neighbours are one
    return;
  }
  if (id >= 0 && !unused_.empty() && unused_[static_cast<std::size_t>(id)]) {
    // The last way to make it that was seen, as sentencepiece remembers it.
    for (auto split = scratch.splits.rbegin(); split != scratch.splits.rend(); ++split) {
      if (split->first == id) {
        const auto left =
            static_cast<std::uint32_t>(vocabulary_.content(split->second.left).size());
        const ModelScratch::Split parts = split->second;
        settle_one(parts.left, std::min(left, bytes), scratch);
        settle_one(parts.right, bytes - std::min(left, bytes), scratch);
        return;
      }
    }
  }
  if (id >= 0) {
    add_symbol(id, bytes, scratch);
  }
}

}  // namespace genesis::text
