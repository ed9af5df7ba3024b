// Invariant that makes leaves-first eviction enough: whoever holds a block holds those before it,
// so a kept page is followed by kept pages only, and every kept page can be reached from a leaf.
#include "engine/page_cache.h"

#include "base/check.h"

#include <algorithm>

namespace genesis::engine {

namespace {

// Computing a token costs the layers' weights and one look at each token before it. For small
// models the second part equals the first at about this many tokens.
constexpr double kAttentionEven = 2'048.0;
// Names of evicted blocks remembered for each page there is.
constexpr std::size_t kRememberedPerPage = 2;

}  // namespace

PageCache::PageCache(std::int32_t num_pages, std::int32_t page_tokens)
    : page_tokens_(page_tokens), pages_(static_cast<std::size_t>(num_pages)) {
  GENESIS_CHECK(num_pages > 0 && page_tokens > 0);
  free_.reserve(pages_.size());
  for (std::int32_t page = num_pages - 1; page >= 0; --page) {
    free_.push_back(page);
  }
}

std::optional<std::int32_t> PageCache::take() {
  if (available() == 0) {
    return std::nullopt;
  }
  std::int32_t page = 0;
  if (free_.empty()) {
    page = evict();
  } else {
    // The page returned last comes first: it is the one most likely still in the CPU's caches.
    page = free_.back();
    free_.pop_back();
  }
  GENESIS_CHECK(at(page).holders == 0 && !at(page).name);
  at(page).holders = 1;
  ++held_;
  return page;
}

std::optional<std::int32_t> PageCache::look_up(const BlockHash& name) const {
  const auto found = named_.find(name);
  return found == named_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::int32_t> PageCache::find(const BlockHash& name) {
  const auto page = look_up(name);
  if (!page) {
    return std::nullopt;
  }
  if (at(*page).holders == 0) {
    forget_evictable(*page);
    ++held_;
  }
  ++at(*page).holders;
  ++at(*page).wanted;
  return page;
}

std::int32_t PageCache::publish(std::int32_t page,
                                const BlockHash& name,
                                std::int32_t before,
                                std::int32_t start) {
  Page& block = at(page);
  GENESIS_CHECK(block.holders == 1 && !block.name && (before >= 0) == (start > 0));
  if (const auto published = find(name)) {
    give_back(page);
    return *published;
  }
  named_.emplace(name, page);
  block.name = name;
  block.before = before;
  block.start = start;
  block.wanted = 0;
  if (before >= 0) {
    GENESIS_CHECK(at(before).holders > 0 && at(before).name);
    ++at(before).followers;
  }
  return page;
}

void PageCache::give_back(std::int32_t page) {
  Page& block = at(page);
  GENESIS_CHECK(page >= 0 && page < total() && block.holders > 0);
  if (--block.holders > 0) {
    return;
  }
  --held_;
  if (!block.name) {
    free_.push_back(page);
  } else {
    note_evictable(page);
  }
}

void PageCache::give_back_part(std::int32_t page,
                               const BlockHash& place,
                               std::span<const std::int32_t> tokens) {
  Page& part = at(page);
  GENESIS_CHECK(part.holders == 1 && !part.name && !tokens.empty());
  part.holders = 0;
  --held_;
  part.place = place;
  part.content.assign(tokens.begin(), tokens.end());
  parts_[place].push_back(page);
  note_evictable(page);
}

std::optional<PageCache::Part> PageCache::take_part(const BlockHash& place,
                                                    std::span<const std::int32_t> tokens) {
  const auto found = parts_.find(place);
  if (found == parts_.end()) {
    return std::nullopt;
  }
  std::optional<Part> best;
  for (const std::int32_t page : found->second) {
    const std::vector<std::int32_t>& content = at(page).content;
    const auto count = static_cast<std::int32_t>(content.size());
    const bool fits = content.size() <= tokens.size() &&
                      std::ranges::equal(content, tokens.first(content.size()));
    if (fits && (!best || count > best->tokens)) {
      best = Part{.page = page, .tokens = count};
    }
  }
  if (best) {
    forget_evictable(best->page);
    forget_part(best->page);
    at(best->page).holders = 1;
    ++held_;
  }
  return best;
}

void PageCache::forget_part(std::int32_t page) {
  Page& part = at(page);
  const auto found = parts_.find(*part.place);
  std::erase(found->second, page);
  if (found->second.empty()) {
    parts_.erase(found);
  }
  part.place.reset();
  part.content.clear();
}

bool PageCache::evictable(const Page& page) const {
  return page.holders == 0 && (page.name || page.place) && page.followers == 0;
}

double PageCache::worth_of(const Page& page) const {
  const double cost = 1.0 + static_cast<double>(page.start + page_tokens_) / kAttentionEven;
  return age_ + cost * (1.0 + page.wanted);
}

void PageCache::note_evictable(std::int32_t page) {
  Page& block = at(page);
  if (evictable(block)) {
    block.worth = worth_of(block);
    evictable_.emplace(block.worth, page);
  }
}

void PageCache::forget_evictable(std::int32_t page) {
  if (evictable(at(page))) {
    GENESIS_CHECK(evictable_.erase({at(page).worth, page}) == 1);
  }
}

std::int32_t PageCache::evict() {
  GENESIS_CHECK(!evictable_.empty());
  const auto [worth, page] = *evictable_.begin();
  evictable_.erase(evictable_.begin());
  age_ = worth;
  Page& block = at(page);
  ++evictions_;
  if (block.place) {
    forget_part(page);
    return page;
  }
  named_.erase(*block.name);
  if (evicted_.insert(*block.name).second) {
    evicted_order_.push_back(*block.name);
  }
  if (evicted_order_.size() > kRememberedPerPage * pages_.size()) {
    evicted_.erase(evicted_order_.front());
    evicted_order_.pop_front();
  }
  const std::int32_t before = block.before;
  block = {};
  if (before >= 0) {
    --at(before).followers;
    note_evictable(before);
  }
  return page;
}

void PageCache::check_invariants() const {
  std::vector<std::int32_t> followers(pages_.size(), 0);
  std::int32_t held = 0;
  std::size_t named = 0;
  std::size_t leaves = 0;
  std::size_t parts = 0;
  for (std::int32_t i = 0; i < total(); ++i) {
    const Page& page = at(i);
    held += page.holders > 0 ? 1 : 0;
    leaves += evictable(page) ? 1 : 0;
    if (evictable(page)) {
      GENESIS_CHECK(evictable_.contains({page.worth, i}));
    }
    if (!page.name) {
      GENESIS_CHECK(page.followers == 0 && (!page.place || page.holders == 0));
      parts += page.place ? 1 : 0;
      continue;
    }
    ++named;
    GENESIS_CHECK(named_.at(*page.name) == i);
    if (page.before >= 0) {
      const Page& before = at(page.before);
      GENESIS_CHECK(before.name && before.start + page_tokens_ == page.start);
      GENESIS_CHECK(before.holders > 0 || page.holders == 0);
      ++followers[static_cast<std::size_t>(page.before)];
    }
  }
  for (std::int32_t i = 0; i < total(); ++i) {
    GENESIS_CHECK(at(i).followers == followers[static_cast<std::size_t>(i)]);
  }
  GENESIS_CHECK(held == held_ && named == named_.size() && leaves == evictable_.size());
  std::size_t nameless = 0;
  for (const std::int32_t page : free_) {
    nameless += !at(page).name && !at(page).place && at(page).holders == 0 ? 1 : 0;
  }
  for (const auto& [place, pages] : parts_) {
    for (const std::int32_t page : pages) {
      GENESIS_CHECK(at(page).place == place);
      --parts;
    }
  }
  GENESIS_CHECK(parts == 0);
  GENESIS_CHECK(nameless == free_.size());
  GENESIS_CHECK(available() == static_cast<std::int32_t>(free_.size()) + kept());
}

}  // namespace genesis::engine
