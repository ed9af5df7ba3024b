#include "endpoint/dispatcher.h"

#include "endpoint/features.h"
#include "endpoint/walk.h"

#include <algorithm>
#include <utility>

namespace genesis::endpoint {

Dispatcher::Dispatcher(DispatcherParts parts, DispatchOptions options)
    : parts_(std::move(parts)),
      options_(options),
      budget_(options.retry_budget),
      random_(options.seed) {}

std::vector<EndpointSnapshot> Dispatcher::snapshots() const {
  std::vector<EndpointSnapshot> all;
  all.reserve(parts_.targets.size());
  for (const DispatchTarget& each : parts_.targets) {
    all.push_back(each.snapshot());
  }
  return all;
}

Result<std::string> Dispatcher::first_choice(const ChatRequest& request) {
  const RouteFeatures features = make_features(request, random_.uniform(), parts_.clock.steady());
  GENESIS_TRY(const Plan plan, parts_.router.plan(features, snapshots()));
  Error refused;
  for (const PlanStep& step : plan.steps) {
    const auto target = std::ranges::find(parts_.targets, step.endpoint, &DispatchTarget::name);
    const auto allowed =
        target == parts_.targets.end() ? Result<void>{} : parts_.permission(request, *target);
    if (allowed) {
      return step.endpoint;
    }
    refused = allowed.error();
  }
  return std::unexpected(std::move(refused));
}

Task<Result<Usage>> Dispatcher::chat(const ChatRequest& request, ChatSink& sink) {
  const SteadyTime start = parts_.clock.steady();
  RequestTrace trace{.unix_ms = parts_.clock.unix_ms(),
                     .features = make_features(request, random_.uniform(), start),
                     .traceparent = request.traceparent};
  auto plan = parts_.router.plan(trace.features, snapshots());
  Result<Usage> result = std::unexpected(plan ? Error{} : plan.error());
  if (plan) {
    trace.plan = std::move(*plan);
    Walk walk({.parts = parts_, .options = options_, .budget = budget_, .random = random_},
              request,
              trace,
              sink);
    result = co_await walk.run();
  }
  trace.outcome = result ? "delivered" : error_code_name(result.error().code);
  trace.total_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(parts_.clock.steady() - start).count();
  for (RequestObserver* observer : parts_.observers) {
    observer->on_finished(trace);
  }
  co_return result;
}

}  // namespace genesis::endpoint
