// Dispatcher: the ChatModel that asks the router for a plan and walks it (walk.h). One place knows
// every request: its features, its attempts, its outcome, and tells them to the observers.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/task.h"
#include "endpoint/retry_budget.h"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::endpoint {

// One endpoint as the dispatcher sees it. `chat` is the whole decorated chain (metered and
// guarded).
struct DispatchTarget {
  std::string name;
  std::string model;
  ChatModel* chat = nullptr;  // not owned
  std::function<EndpointSnapshot()> snapshot;
};

struct DispatchOptions {
  int max_attempts = 6;  // per request, over all endpoints
  // Before the same endpoint is tried again: at most so long, doubled with each attempt, with full
  // jitter.
  std::chrono::milliseconds retry_pause{200};
  std::chrono::milliseconds longest_retry_after{10'000};  // wait for a Retry-After at most so long
  RetryBudgetOptions retry_budget;
  std::size_t max_remembered_bytes = 4UL * 1024 * 1024;  // of a stream, for its replay
  std::uint64_t seed = 1;                                // of jitter and of RouteFeatures::draw
};

// Asked before each attempt with the resolved endpoint and model: may this caller use it?
using Permission = std::function<Result<void>(const ChatRequest&, const DispatchTarget&)>;

// What a dispatcher works with; everything pointed to or referred to outlives it.
struct DispatcherParts {
  Executor executor;
  const Clock& clock;
  const Router& router;
  std::vector<DispatchTarget> targets;
  Permission permission;
  std::vector<RequestObserver*> observers;
};

// Lives on the io thread.
class Dispatcher final : public ChatModel {
 public:
  Dispatcher(DispatcherParts parts, DispatchOptions options);
  // On total failure: the error of the last attempt if it is the only one, else kUnavailable with
  // the list of attempts and the shortest Retry-After. Every request ends in on_finished(), also
  // one for which no plan was found.
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

  // The endpoint that would be asked first now, among those that this caller may use.
  Result<std::string> first_choice(const ChatRequest& request);

 private:
  std::vector<EndpointSnapshot> snapshots() const;

  DispatcherParts parts_;
  DispatchOptions options_;
  RetryBudget budget_;
  Random random_;
};

}  // namespace genesis::endpoint
