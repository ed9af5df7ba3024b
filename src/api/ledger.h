// The ledger port: money is reserved before an attempt leaves and posted or voided after it.
#pragma once

#include "api/chat.h"
#include "api/money.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace genesis {

// Names one dispatch. Writing the same thing twice for one attempt is the same as once.
struct AttemptId {
  std::string request_id;
  std::uint32_t attempt = 0;
};

// What is known before dispatch. `upper_bound` is the most this attempt can use.
struct Reservation {
  AttemptId id;
  std::string tenant;
  std::string key_id;
  std::string team;
  std::string agent;
  std::string route;
  std::string endpoint;
  Tier tier = Tier::kSelfHosted;
  std::string model;  // the name the price table knows
  Usage upper_bound;
};

// How an attempt ended, for the row that posts it.
struct AttemptOutcome {
  Usage usage;
  bool delivered = false;  // the client got the whole answer
  std::string finish;      // "stop", "length", or an error code name
  // What the upstream said, when our own count differs from it by more than the ledger tolerates:
  // `usage` then holds the larger of the two and the row is marked `disputed`.
  std::optional<Usage> disputed;
  // Nobody can know what it used (it went out, and nothing came back): booked at its upper bound.
  bool unconfirmed = false;
  std::int64_t first_token_ms = -1;
  std::int64_t total_ms = 0;
};

// Error::type, beside kUnavailable, of an attempt at a paid endpoint that was not made because it
// could not be booked.
inline constexpr std::string_view kLedgerUnavailable = "ledger_unavailable";

// Implemented by `ledger`. Calls come from the io thread; each returns when the row is safe
// (decision 010).
class Ledger {
 public:
  virtual ~Ledger() = default;
  // kBudgetExhausted, naming the budget in `param`: a budget of the key, team or agent would be
  // overrun if the attempt used its upper bound.
  virtual Task<Result<void>> reserve(const Reservation& reservation) = 0;
  // Returns what the attempt was booked at.
  virtual Task<Result<Posted>> post(const AttemptId& id, const AttemptOutcome& outcome) = 0;
  // The attempt used nothing (refused, reset before any token).
  virtual Task<Result<void>> void_attempt(const AttemptId& id, const std::string& reason) = 0;
};

}  // namespace genesis
