// PageCache: which KV pages are held, which are free, and which hold a finished block that somebody
// may want again. Numbers only; the memory behind a page belongs to the Runner.
//
// A page is free, held by one or more sequences, or kept: held by nobody but still named. Kept
// pages are taken when nothing is free, the one of least worth first: worth is what it cost to
// compute times how often it was wanted, and ages as others are evicted (GreedyDual-Size-Frequency,
// Cherkasova 1998). Only a block that no other named block follows may go: its followers could not
// be found without it. A page that is not full is kept for the one who goes on where it ends, as
// the next turn of a conversation does: it cannot be shared, since its holder writes to it.
#pragma once

#include "engine/block_hash.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace genesis::engine {

// Not thread-safe: the step thread owns it. Giving back what is not held is a broken invariant.
class PageCache {
 public:
  PageCache(std::int32_t num_pages, std::int32_t page_tokens);

  // A page for one holder, its content anything. Nullopt: all are held.
  std::optional<std::int32_t> take();
  // The page of a named block, with one more holder. Nullopt: no such block.
  std::optional<std::int32_t> find(const BlockHash& name);
  // The same for somebody who only wants to know.
  std::optional<std::int32_t> look_up(const BlockHash& name) const;

  // The content of `page`, which only the caller holds, is the block `name`, at `start`, after the
  // block in `before`, which the caller holds too (-1 for the first). Returns the page to go on
  // with: another one, now held instead, when somebody published the same block before. Equal names
  // mean equal bits, so nothing changes by that.
  [[nodiscard]] std::int32_t publish(std::int32_t page,
                                     const BlockHash& name,
                                     std::int32_t before,
                                     std::int32_t start);
  // One holder less.
  void give_back(std::int32_t page);

  // Gives back a page that only the caller holds and that holds these tokens, fewer than a page, at
  // `place`: it is kept for whoever goes on there.
  void give_back_part(std::int32_t page,
                      const BlockHash& place,
                      std::span<const std::int32_t> tokens);

  // A kept page of `place` that holds the beginning of `tokens`, for the caller alone, and how many
  // tokens it holds. The longest, if there are several.
  struct Part {
    std::int32_t page = 0;
    std::int32_t tokens = 0;
  };

  std::optional<Part> take_part(const BlockHash& place, std::span<const std::int32_t> tokens);

  // Whether the block was here lately and had to go.
  bool evicted_lately(const BlockHash& name) const { return evicted_.contains(name); }

  // Free or kept: what take() can still give.
  std::int32_t available() const { return total() - held_; }

  std::int32_t kept() const { return total() - held_ - static_cast<std::int32_t>(free_.size()); }

  std::int32_t total() const { return static_cast<std::int32_t>(pages_.size()); }

  std::uint64_t evictions() const { return evictions_; }

  std::int32_t holders(std::int32_t page) const { return at(page).holders; }

  // Stops the process when states, counts or the chain do not add up. For tests.
  void check_invariants() const;

 private:
  struct Page {
    std::int32_t holders = 0;
    std::optional<BlockHash> name;
    std::optional<BlockHash> place;     // of a kept page that is not full
    std::vector<std::int32_t> content;  // its tokens
    std::int32_t before = -1;           // the page of the block before, -1 for the first
    std::int32_t followers = 0;         // named pages whose `before` is this one
    std::int32_t start = 0;             // position of its first token
    std::uint32_t wanted = 0;           // times found
    double worth = 0.0;                 // as entered in evictable_
  };

  Page& at(std::int32_t page) { return pages_[static_cast<std::size_t>(page)]; }

  const Page& at(std::int32_t page) const { return pages_[static_cast<std::size_t>(page)]; }

  bool evictable(const Page& page) const;
  double worth_of(const Page& page) const;
  void note_evictable(std::int32_t page);
  void forget_evictable(std::int32_t page);
  std::int32_t evict();
  void forget_part(std::int32_t page);

  std::int32_t page_tokens_;
  std::vector<Page> pages_;
  std::vector<std::int32_t> free_;
  std::int32_t held_ = 0;
  std::unordered_map<BlockHash, std::int32_t, BlockHashHasher> named_;
  std::unordered_map<BlockHash, std::vector<std::int32_t>, BlockHashHasher> parts_;  // by place
  std::set<std::pair<double, std::int32_t>> evictable_;                              // by worth
  double age_ = 0.0;  // the worth of what was evicted last: what comes now starts above it
  std::uint64_t evictions_ = 0;
  std::unordered_set<BlockHash, BlockHashHasher> evicted_;
  std::deque<BlockHash> evicted_order_;  // oldest first; bounds evicted_
};

}  // namespace genesis::engine
