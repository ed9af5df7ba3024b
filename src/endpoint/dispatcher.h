// Dispatcher: the ChatModel that walks a plan. Each step is one attempt at one endpoint; before the
// first byte reached the client, a failed attempt is followed by the next; after it, never.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/task.h"

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
  int max_attempts = 6;                        // per request, over all endpoints
  std::chrono::milliseconds retry_pause{100};  // before trying the same endpoint again, +- 50 %
  std::chrono::milliseconds longest_retry_after{10'000};  // wait for a Retry-After at most so long
  std::uint64_t seed = 1;                                 // of jitter and of RouteFeatures::draw
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

class AttemptLog;

// Lives on the io thread.
class Dispatcher final : public ChatModel {
 public:
  Dispatcher(DispatcherParts parts, DispatchOptions options);
  // On total failure: the error of the last attempt if it is the only one, else kUnavailable with
  // the list of attempts and the shortest Retry-After. Every request ends in on_finished(), also
  // one for which no plan was found.
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  Task<Result<Usage>> walk(const ChatRequest& request,
                           RequestTrace& trace,
                           AttemptLog& attempts,
                           ChatSink& sink);
  Task<bool> pause_before_retry(const Error& error, const ChatRequest& request);
  const DispatchTarget* target(std::string_view name) const;

  DispatcherParts parts_;
  DispatchOptions options_;
  Random random_;
};

}  // namespace genesis::endpoint
