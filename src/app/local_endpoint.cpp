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

// Ends an attempt whose engine falls silent before the answer has begun.
class UntilSilent final : public ChatSink {
 public:
  UntilSilent(ChatSink& inner, const CancelToken& silence)
      : inner_(inner),
        on_leave_(inner.cancel_token().on_cancel([stop = stop_]() mutable { stop.cancel(); })),
        on_silence_(silence.on_cancel([this] {
          if (!begun_) {
            silent_ = true;
            stop_.cancel();
          }
        })) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    begun_ = true;
    return inner_.begin(served);
  }

  Task<Result<void>> write(const ChatDelta& delta) override { return inner_.write(delta); }

  CancelToken cancel_token() const override { return stop_.token(); }

  // True when that is why the attempt ended.
  bool silent() const { return silent_; }

 private:
  ChatSink& inner_;
  CancelSource stop_;
  bool begun_ = false;
  bool silent_ = false;
  CancelHook on_leave_;
  CancelHook on_silence_;
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
  UntilSilent watched(sink, supervisor_.silence());
  auto result = co_await provider_.chat(request, watched);
  if (!result && watched.silent()) {
    co_return fail(ErrorCode::kUnavailable, "the engine does not answer", "try again");
  }
  co_return result;
}

}  // namespace genesis::app
