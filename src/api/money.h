// Money, and what one request was booked at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace genesis {

// Money: whole nano-USD (1e-9 USD). 64 bits hold 9.2 billion USD. Never a floating-point number.
using NanoUsd = std::int64_t;

inline constexpr NanoUsd kNanoPerUsd = 1'000'000'000;

// "1.234567890" -> the same with trailing zeros cut to at least two decimals: "1.23456789".
std::string format_usd(NanoUsd amount);

// For metrics, which know no integers; never for a sum that anybody is asked to pay.
double usd_for_gauges(NanoUsd amount);

// What an attempt was booked at.
struct Posted {
  NanoUsd cost = 0;
  // What its answer would have cost at the pinned price; nullopt without a pin, or where none was
  // delivered.
  std::optional<NanoUsd> baseline;
};

// What the attempts of one request were booked at so far: tokens only, no machine hours. One that
// lost against a hedge may be booked after the request's end.
class Bill {
 public:
  void add(const Posted& posted);

  // An attempt that could not be booked, or has no known price: the sums say nothing any more.
  void spoil() { spoiled_ = true; }

  // Nullopt when nothing was booked, or not everything could be.
  std::optional<NanoUsd> cost() const;
  // Baseline less cost; below zero when the answer came dearer. Nullopt also without a baseline.
  std::optional<NanoUsd> saved() const;

 private:
  NanoUsd cost_ = 0;
  std::optional<NanoUsd> baseline_;
  bool any_ = false;
  bool spoiled_ = false;
};

}  // namespace genesis
