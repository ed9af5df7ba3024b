// BlockPool: which KV pages are free. Numbers only; the memory behind a page belongs to the Runner.
#pragma once

#include "base/check.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace genesis::engine {

// Every page is either free or held by exactly one sequence; taking a page twice or returning one
// that is not held is a broken invariant. Not thread-safe: the step thread owns it.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_pages) : held_(static_cast<std::size_t>(num_pages), false) {
    GENESIS_CHECK(num_pages > 0);
    free_.reserve(held_.size());
    for (std::int32_t page = num_pages - 1; page >= 0; --page) {
      free_.push_back(page);
    }
  }

  // The page returned last comes first: it is the one most likely still in the CPU's caches.
  std::optional<std::int32_t> take() {
    if (free_.empty()) {
      return std::nullopt;
    }
    const std::int32_t page = free_.back();
    free_.pop_back();
    GENESIS_CHECK(!held_[static_cast<std::size_t>(page)]);
    held_[static_cast<std::size_t>(page)] = true;
    return page;
  }

  void give_back(std::int32_t page) {
    GENESIS_CHECK(page >= 0 && page < total() && held_[static_cast<std::size_t>(page)]);
    held_[static_cast<std::size_t>(page)] = false;
    free_.push_back(page);
  }

  std::int32_t free_pages() const { return static_cast<std::int32_t>(free_.size()); }

  std::int32_t total() const { return static_cast<std::int32_t>(held_.size()); }

 private:
  std::vector<std::int32_t> free_;
  std::vector<bool> held_;
};

}  // namespace genesis::engine
