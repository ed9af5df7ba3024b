// The inference routes: one straight line from body to answer, the same for every dialect.
#pragma once

#include "base/task.h"
#include "server/dialogue.h"
#include "server/exchange.h"
#include "server/gateway.h"
#include "server/rate_limit.h"
#include "server/request_record.h"

namespace genesis::server {

// Shared by all requests; io thread only.
struct InferenceContext {
  Executor executor;
  const GatewayOptions& options;
  const GatewayPorts& ports;
  RequestMetrics& metrics;
  RateLimiter& limiter;
  int in_flight = 0;
};

// The answer to one request too many.
Error full_house();

// permit -> parse -> scope -> model -> answer. Always answers, unless the client is gone.
Task<void> serve_inference(InferenceContext& context, Exchange& x, InferenceRoute route);

// POST /v1/messages/count_tokens: exact where this process has the tokenizer, else an estimate,
// which the header x-genesis-token-count tells.
Task<void> serve_count_tokens(InferenceContext& context, Exchange& x);

}  // namespace genesis::server
