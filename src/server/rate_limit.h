// RateLimiter: what one key may ask for in a minute and at the same time. Two token buckets a key
// (requests, model tokens), each holding one minute's worth and filling evenly on the steady clock,
// and a count of what is in flight. In memory: a restart fills the buckets; several gateways have
// each their own.
//
// A request takes its estimated tokens when it is let in and settles to those it really used; more
// than a minute's worth takes the whole bucket.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "net/http.h"
#include "server/gateway.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace genesis::server {

// What is left of one key's limits; shared with the tickets that are out.
struct RateState;

// A request that was let in. Gives back its place in flight when destroyed.
class RateTicket {
 public:
  RateTicket() = default;  // of a key without limits
  RateTicket(std::shared_ptr<RateState> state, std::int64_t tokens);
  RateTicket(RateTicket&& other) noexcept = default;
  RateTicket& operator=(RateTicket&& other) noexcept;
  RateTicket(const RateTicket&) = delete;
  RateTicket& operator=(const RateTicket&) = delete;
  ~RateTicket();

  // What the request really used, in place of what was taken.
  void settle(std::int64_t tokens);

 private:
  void leave();

  std::shared_ptr<RateState> state_;
  std::int64_t tokens_ = 0;
};

// Lives on the io thread; `clock` outlives it.
class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock) : clock_(clock) {}

  // kRateLimited with `retry_after`, naming "requests", "tokens" or "parallel" in `param`.
  Result<RateTicket> admit(std::string_view key_id, const RateLimits& limits, std::int64_t tokens);

  // x-ratelimit-{limit,remaining,reset}-{requests,tokens} as OpenAI sends them; none without
  // limits.
  void add_headers(std::string_view key_id, const RateLimits& limits, net::Headers& headers);

 private:
  RateState& state_of(std::string_view key_id, const RateLimits& limits);

  const Clock& clock_;
  std::unordered_map<std::string, std::shared_ptr<RateState>> keys_;
};

}  // namespace genesis::server
