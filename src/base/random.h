// The randomness seam and identifiers. Secrets come from the operating system, jitter and sampling
// from seeded generators so that a test can print its seed and repeat itself.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace genesis {

// Fills `out` from the kernel's generator; used for keys. Never fails on Linux after boot.
void secure_random_bytes(std::span<std::uint8_t> out);

// SplitMix64 (Steele, Lea, Flood 2014): tiny, seedable, good enough for jitter and test data.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  // Uniform in [0, bound); bound must be positive.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

// A new id such as "chatcmpl-01J9ZC..." : prefix, then 48 bits of time and 80 random bits in base
// 32, so ids sort by time (the ULID layout, github.com/ulid/spec).
std::string new_id(std::string_view prefix);

}  // namespace genesis
