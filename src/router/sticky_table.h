// StickyTable: which endpoint a conversation, or a common beginning of prompts, was last served by
// and so has a warm cache at. Bounded; the least recently used entry goes first.
#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace genesis::router {

struct StickyOptions {
  std::size_t capacity = 65'536;
  // Providers keep a prompt cache between 5 and 60 minutes after its last use.
  std::chrono::minutes ttl{15};
};

struct Pin {
  std::string endpoint;
  std::int64_t tokens = 0;  // of the input that the endpoint has seen
};

// Thread-safe. Outlives a reload of the configuration: a pin to an endpoint that is gone is simply
// not found among the candidates.
class StickyTable {
 public:
  explicit StickyTable(StickyOptions options = {}) : options_(options) {}

  std::optional<Pin> find(std::uint64_t key, SteadyTime now) const;
  void pin(std::uint64_t key, Pin pin, SteadyTime now);
  // As pin(), unless there is one already.
  void pin_if_free(std::uint64_t key, Pin pin, SteadyTime now);
  std::size_t size() const;

 private:
  struct Entry {
    std::uint64_t key = 0;
    Pin pin;
    SteadyTime used;
  };

  const StickyOptions options_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently pinned first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> by_key_;
};

}  // namespace genesis::router
