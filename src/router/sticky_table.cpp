#include "router/sticky_table.h"

#include <utility>

namespace genesis::router {

std::optional<Pin> StickyTable::find(std::uint64_t key, SteadyTime now) const {
  const std::scoped_lock lock(mutex_);
  const auto at = by_key_.find(key);
  if (at == by_key_.end() || now - at->second->used > options_.ttl) {
    return std::nullopt;
  }
  return at->second->pin;
}

void StickyTable::pin(std::uint64_t key, Pin pin, SteadyTime now) {
  const std::scoped_lock lock(mutex_);
  if (const auto at = by_key_.find(key); at != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, at->second);
    at->second->pin = std::move(pin);
    at->second->used = now;
    return;
  }
  if (entries_.size() >= options_.capacity) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({.key = key, .pin = std::move(pin), .used = now});
  by_key_.emplace(key, entries_.begin());
}

void StickyTable::pin_if_free(std::uint64_t key, Pin pin, SteadyTime now) {
  if (!find(key, now)) {
    this->pin(key, std::move(pin), now);
  }
}

std::size_t StickyTable::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

}  // namespace genesis::router
