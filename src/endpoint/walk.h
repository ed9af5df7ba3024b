// Walk: one request on its way along a plan. Each step is one attempt at one endpoint.
//
// Before the first byte reached the client a failed attempt is followed by the next step, or once
// more by the same endpoint where that makes sense; a slow one may be raced by the next (a hedge).
// After the first byte a cut answer is rescued by replay and skip, or ends in the error that cut
// it.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
#include "base/random.h"
#include "base/task.h"
#include "endpoint/answer_gate.h"
#include "endpoint/attempt_log.h"
#include "endpoint/dispatcher.h"
#include "endpoint/retry_budget.h"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace genesis::endpoint {

// What all walks of a dispatcher share.
struct WalkPorts {
  const DispatcherParts& parts;
  const DispatchOptions& options;
  RetryBudget& budget;
  Random& random;
};

// Lives in the dispatcher's coroutine, for one request.
class Walk {
 public:
  // `trace` holds the plan and gets every attempt.
  Walk(WalkPorts ports, const ChatRequest& request, RequestTrace& trace, ChatSink& client);

  Task<Result<Usage>> run();

 private:
  struct Run;
  struct Race;

  // A step that is still ahead.
  struct Step {
    const DispatchTarget* to = nullptr;
    bool may_hedge = true;
  };

  Task<Result<Usage>> until_commit();
  Task<Result<Usage>> rescue(Error cut);
  std::vector<const DispatchTarget*> rescuers(const Error& cut) const;

  // One attempt from its permission to its end.
  Task<Result<Usage>> attempt(AttemptKind kind, const DispatchTarget& to, bool last_resort);
  // The same, raced by `rival` when it shows no token in time. A rival that failed as well is
  // taken out of `left_`.
  Task<Result<Usage>> race(AttemptKind kind,
                           const DispatchTarget& first,
                           const DispatchTarget& rival);
  Task<void> wait_for(Race& race, SteadyTime until);
  Result<std::shared_ptr<Run>> prepare(AttemptKind kind,
                                       const DispatchTarget& to,
                                       bool last_resort,
                                       Race* race);
  Task<void> carry_out(Run& run);
  void start(const std::shared_ptr<Race>& race, const std::shared_ptr<Run>& run);

  bool next_may_help(const Error& error, const DispatchTarget& failed);
  Task<bool> same_again(const Error& error, const DispatchTarget& failed, bool first_try);
  Task<void> pause(std::chrono::milliseconds time);
  void put_usable_first();
  const DispatchTarget* target(std::string_view name) const;

  bool client_gone() const { return client_.cancel_token().cancelled(); }

  bool out_of_time() const;

  WalkPorts ports_;
  const ChatRequest& request_;
  RequestTrace& trace_;
  ChatSink& client_;
  AttemptLog log_;
  AnswerGate gate_;
  std::deque<Step> left_;  // its front is next
  const DispatchTarget* served_ = nullptr;
  std::uint32_t attempts_ = 0;
  // Of the extra attempt that is next or under way.
  std::optional<RetryBudget::Permit> extra_;
};

}  // namespace genesis::endpoint
