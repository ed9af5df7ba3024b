// The routing port: request features and endpoint snapshots in, an ordered plan with its reasons
// out.
#pragma once

#include "api/chat.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace genesis {

// How an endpoint is doing at the moment of the decision. A plain copy; nothing in it is live.
struct EndpointSnapshot {
  std::string name;
  std::string model;  // what the endpoint calls its model
  Tier tier = Tier::kSelfHosted;
  bool usable = true;   // false: starting, stopped, ejected, cooling down
  std::string why_not;  // when not usable, e.g. "cooling down for 1500 ms after 429"
  int in_flight = 0;
  double first_token_ms = 0;  // moving average, 0 = not measured yet
};

// What a policy may look at. Cheap to make: no prompt text is copied.
struct RouteFeatures {
  std::string route;  // the client's `model`
  std::string tenant;
  Dialect dialect = Dialect::kOpenAiChat;
  std::size_t prompt_bytes = 0;
};

struct PlanStep {
  std::string endpoint;
  std::string reason;
};

// Endpoints in the order in which they are tried before the first byte.
struct Plan {
  std::string route;
  std::string policy;
  std::vector<PlanStep> steps;
};

// Pure and thread-safe: the same inputs give the same plan.
class Router {
 public:
  virtual ~Router() = default;
  // kNotFound for a name that is neither route, alias, endpoint nor model; the hint lists near
  // names.
  virtual Result<Plan> plan(const RouteFeatures& features,
                            std::span<const EndpointSnapshot> endpoints) const = 0;
};

}  // namespace genesis
