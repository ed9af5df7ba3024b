#include "text/grammar/known_masks.h"

#include <algorithm>
#include <utility>

namespace genesis::text::grammar {

namespace {

// Some formats have hundreds of places; a mask of a large vocabulary takes 20 KB.
constexpr std::size_t kMostMasks = 2000;

}  // namespace

void Mask::write(std::span<std::uint64_t> allowed) const {
  if (base != nullptr) {
    const auto rest = std::ranges::copy(*base, allowed.begin()).out;
    std::fill(rest, allowed.end(), 0);
  } else {
    std::ranges::fill(allowed, 0);
  }
  for (const std::int32_t token : tokens) {
    set_bit(allowed, token);
  }
}

std::shared_ptr<const PlaceMask> KnownMasks::find(const std::string& place) const {
  const std::scoped_lock lock(mutex_);
  const auto found = masks_.find(place);
  return found == masks_.end() ? nullptr : found->second;
}

void KnownMasks::add(const std::string& place, std::shared_ptr<const PlaceMask> mask) {
  const std::scoped_lock lock(mutex_);
  if (masks_.size() < kMostMasks) {
    masks_.try_emplace(place, std::move(mask));
  }
}

}  // namespace genesis::text::grammar
