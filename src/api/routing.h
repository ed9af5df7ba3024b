// The routing port: request features and endpoint snapshots in, an ordered plan with its reasons
// out.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace genesis {

// What an endpoint asks for its work, in nano-USD; nullopt = not known, which is not zero.
struct RoutePrice {
  std::optional<NanoUsd> input;  // per million tokens, as the next two
  std::optional<NanoUsd> cached_input;
  std::optional<NanoUsd> output;
  std::optional<NanoUsd> per_hour;
};

// Where an endpoint is in its life. A cold one can be woken, at the price of its start.
enum class EndpointPhase : std::uint8_t { kCold, kWarming, kWarm, kDraining };

// How an endpoint is doing at the moment of the decision. A plain copy; nothing in it is live.
struct EndpointSnapshot {
  std::string name;
  std::string model;  // what the endpoint calls its model
  Tier tier = Tier::kSelfHosted;
  bool usable = true;   // false: starting, stopped, ejected, cooling down
  std::string why_not;  // when not usable, e.g. "cooling down for 1500 ms after 429"
  EndpointPhase phase = EndpointPhase::kWarm;
  int in_flight = 0;
  int max_in_flight = 0;      // 0 = no limit known
  double first_token_ms = 0;  // moving average, 0 = not measured yet
  double warm_up_ms = 0;      // what a start takes while not warm, 0 = not known
  double token_ms = 0;        // moving average of the time between tokens, 0 = not measured yet
  double failure_rate = 0;    // moving average of failed attempts, [0, 1]
  // Share of new requests it should get while it comes back from an ejection, (0, 1].
  double ramp = 1;
  std::int64_t max_context = 0;  // tokens; 0 = not known
  RoutePrice price;
};

// What a policy may look at. Cheap to make: no prompt text is copied.
struct RouteFeatures {
  std::string request_id;
  std::string route;  // the client's `model`
  std::string tenant;
  std::string key_id;
  Caller caller;
  Dialect dialect = Dialect::kOpenAiChat;
  bool stream = false;
  bool has_tools = false;
  bool has_images = false;
  std::size_t prompt_bytes = 0;
  std::int64_t input_tokens = 0;   // estimated
  std::int64_t output_tokens = 0;  // at most, as far as the request says
  // Hash of how the conversation begins (system prompt and tools): requests that share it share
  // an engine's prefix cache. 0 = none.
  std::uint64_t prefix = 0;
  double draw = 0;  // uniform in [0, 1), drawn once a request: keeps weighted choices pure
  SteadyTime now{};
};

struct PlanStep {
  std::string endpoint;
  std::string reason;
  NanoUsd predicted_cost = -1;  // -1 = no price is known
  bool may_hedge = true;        // false: never asked as a second attempt beside a running one
};

// An endpoint that was looked at, for `genesis explain`.
struct Alternative {
  std::string endpoint;
  std::string model;
  Tier tier = Tier::kSelfHosted;
  bool chosen = false;  // part of the plan
  std::string reason;   // why there, or why not
  NanoUsd predicted_cost = -1;
  double predicted_first_token_ms = 0;
};

// Endpoints in the order in which they are tried before the first byte.
struct Plan {
  std::string route;
  std::string policy;
  std::vector<PlanStep> steps;
  std::vector<Alternative> alternatives;
  // Send a second attempt to the next step when the first has shown no token after this long;
  // zero = never.
  std::chrono::milliseconds hedge_after{0};
  // Whether an answer cut after its first byte may be rescued by replay and skip.
  bool rescue = true;
  // Keep a streamed answer back until it is whole, so that a cut one costs the client nothing: for
  // agents that do not watch.
  bool hold = false;
};

// Thread-safe and without effects: the same inputs, `draw` and state of the policy give the same
// plan. What a policy learns it learns from RequestObserver.
class Router {
 public:
  virtual ~Router() = default;
  // kNotFound for a name that is neither route, alias, endpoint nor model; the hint lists near
  // names. kUnavailable when every endpoint is ruled out, such as by the commercial share cap.
  virtual Result<Plan> plan(const RouteFeatures& features,
                            std::span<const EndpointSnapshot> endpoints) const = 0;
};

// Why an attempt was made.
enum class AttemptKind : std::uint8_t { kFirst, kRetry, kFallback, kHedge, kRescue };

// One dispatch as it went. Times in milliseconds after the request's start, -1 = never.
struct AttemptRecord {
  std::uint32_t attempt = 0;
  AttemptKind kind = AttemptKind::kFirst;
  std::string endpoint;
  std::string model;
  Tier tier = Tier::kSelfHosted;
  std::int64_t started_ms = 0;
  std::int64_t first_token_ms = -1;
  std::int64_t ended_ms = -1;
  std::string outcome;  // "delivered", or an error code's name
  std::string message;  // the error, without secrets
  Usage usage;          // of a delivered one
};

// Everything that was decided and done for one request.
struct RequestTrace {
  std::int64_t unix_ms = 0;
  RouteFeatures features;
  Plan plan;
  std::vector<AttemptRecord> attempts;
  std::string outcome;  // "delivered", "cancelled", or an error code's name
  std::string served_by;
  std::int64_t total_ms = 0;
  std::string traceparent;  // of the client, if it sent one
};

// Told once a request, after its end, on the io thread. Must not wait.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  // Right before an attempt leaves: what a share cap or a stickiness table has to know at once.
  virtual void on_dispatch(const RouteFeatures& features, const EndpointSnapshot& endpoint) = 0;
  virtual void on_finished(const RequestTrace& trace) = 0;
};

}  // namespace genesis
