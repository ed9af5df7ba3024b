#include "app/local_endpoint.h"

#include <algorithm>

namespace genesis::app {

namespace {

// Waiting is for a request that nobody else can answer; then a large model may take its time.
constexpr std::chrono::seconds kLongestWait{30};

// Brackets a request so that idleness is known on every way out.
class InFlight {
 public:
  explicit InFlight(EngineSupervisor& supervisor) : supervisor_(supervisor) {
    supervisor_.request_begins();
  }

  ~InFlight() { supervisor_.request_ends(); }

  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  EngineSupervisor& supervisor_;
};

}  // namespace

Task<Result<Usage>> LocalEndpoint::chat(const ChatRequest& request, ChatSink& sink) {
  const InFlight in_flight(supervisor_);
  const std::string why_not = supervisor_.why_not();
  if (!why_not.empty() && !request.last_resort) {
    co_return fail(ErrorCode::kUnavailable, why_not, "try again");
  }
  const SteadyTime deadline =
      std::min(request.deadline, std::chrono::steady_clock::now() + kLongestWait);
  GENESIS_CO_TRY_VOID(co_await supervisor_.wait_ready(deadline, sink.cancel_token()));
  co_return co_await provider_.chat(request, sink);
}

}  // namespace genesis::app
