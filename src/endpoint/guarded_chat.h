// GuardedChat: one endpoint's ChatModel under watch. Applies the budgets for first token, between
// tokens and total, feeds the breaker, counts what is in flight, and measures.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
#include "base/clock.h"
#include "base/task.h"
#include "endpoint/breaker.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace genesis::endpoint {

// How long an attempt may take. `connect` is applied by the net client of the endpoint.
struct Budgets {
  std::chrono::milliseconds connect{2'000};
  std::chrono::milliseconds first_token{30'000};
  std::chrono::milliseconds between_tokens{15'000};
  std::chrono::milliseconds total{600'000};

  bool operator==(const Budgets&) const = default;
};

struct EndpointIdentity {
  std::string name;
  std::string model;
  Tier tier = Tier::kSelfHosted;
};

// Says why an endpoint cannot take work for reasons of its own life cycle (starting, stopped);
// empty = it can. Urls have none.
using LifeCycle = std::function<std::string()>;
// Where it is in its life; without one it is warm.
using Phase = std::function<EndpointPhase()>;

// Lives on the io thread.
class GuardedChat final : public ChatModel {
 public:
  struct Options {
    EndpointIdentity identity;
    Budgets budgets;
    BreakerOptions breaker;
    LifeCycle life_cycle;
    Phase phase;
    int max_in_flight = 0;         // more is refused at once; 0 = no limit
    std::int64_t max_context = 0;  // tokens; 0 = not known
    // The endpoint is asked to stream whatever the client wants, so that there is a first token to
    // wait for; else only the total budget applies to an answer that is not streamed.
    bool always_streams = false;
  };

  // `inner` and `clock` outlive this object.
  GuardedChat(Executor executor, const Clock& clock, ChatModel& inner, Options options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

  EndpointSnapshot snapshot() const;

  const EndpointIdentity& identity() const { return options_.identity; }

 private:
  // Why this attempt should not leave now; found only after the plan was made.
  std::optional<Error> refusal(const ChatRequest& request) const;
  void settle(const Result<Usage>& result, bool timed_out);

  Executor executor_;
  const Clock& clock_;
  ChatModel& inner_;
  Options options_;
  Breaker breaker_;
  int in_flight_ = 0;
  double first_token_ms_ = 0;
  double token_ms_ = 0;
};

}  // namespace genesis::endpoint
