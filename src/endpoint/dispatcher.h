// Dispatcher: the ChatModel that walks a plan. Each step is one attempt at one endpoint; before the
// first byte reached the client, a failed attempt is followed by the next; after it, never.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
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
};

// Asked before each attempt with the resolved endpoint and model: may this caller use it?
using Permission = std::function<Result<void>(const ChatRequest&, const DispatchTarget&)>;

// Lives on the io thread.
class Dispatcher final : public ChatModel {
 public:
  Dispatcher(Executor executor,
             const Router& router,
             std::vector<DispatchTarget> targets,
             DispatchOptions options,
             Permission permission);
  // On total failure: the error of the last attempt if it is the only one, else kUnavailable with
  // the list of attempts and the shortest Retry-After.
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  struct Attempts;
  Task<Result<Usage>> attempt(const ChatRequest& request,
                              const DispatchTarget& target,
                              ChatSink& sink);
  Task<bool> pause_before_retry(const Error& error, const ChatRequest& request);
  const DispatchTarget* target(std::string_view name) const;

  Executor executor_;
  const Router& router_;
  std::vector<DispatchTarget> targets_;
  DispatchOptions options_;
  Permission permission_;
  Random random_;
};

}  // namespace genesis::endpoint
