// A hash map from 64-bit keys to 64-bit values: open addressing, no deletion, one allocation. The
// hash is seeded so that a crafted file cannot make every key collide.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace genesis::text {

// Value all-ones means "absent" and cannot be stored.
class FlatMap {
 public:
  static constexpr std::uint64_t kAbsent = ~std::uint64_t{0};

  explicit FlatMap(std::uint64_t seed = 0x9E3779B97F4A7C15ULL) : seed_(seed | 1) {}

  void reserve(std::size_t count) {
    if (count * 2 > slots_.size()) {
      rehash(std::bit_ceil(count * 2 + 8));
    }
  }

  // Inserts or replaces.
  void set(std::uint64_t key, std::uint64_t value) {
    reserve(size_ + 1);
    Slot& slot = slots_[position(key)];
    size_ += slot.value == kAbsent ? 1U : 0U;
    slot = {key, value};
  }

  std::uint64_t get(std::uint64_t key) const {
    return slots_.empty() ? kAbsent : slots_[position(key)].value;
  }

  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint64_t value = kAbsent;
  };

  // The key's slot, or the free slot where it belongs.
  std::size_t position(std::uint64_t key) const {
    std::uint64_t hash = (key ^ seed_) * 0xD6E8FEB86659FD93ULL;
    hash = (hash ^ hash >> 32) * seed_;
    std::size_t at = static_cast<std::size_t>(hash ^ hash >> 32) & (slots_.size() - 1);
    while (slots_[at].value != kAbsent && slots_[at].key != key) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }

  void rehash(std::size_t capacity) {
    std::vector<Slot> old(capacity);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.value != kAbsent) {
        slots_[position(slot.key)] = slot;
      }
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  std::uint64_t seed_;
};

}  // namespace genesis::text
