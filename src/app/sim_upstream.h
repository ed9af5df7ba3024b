// SimUpstream: a stand-in for one endpoint on loopback. Speaks OpenAI's chat stream, and fails in
// the ways real ones do. Used by `genesis drill` only.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/http.h"
#include "net/server.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace genesis::app {

enum class Outage : std::uint8_t {
  kNone,
  kRefuse,       // nobody listens, and what was open is closed
  kHang,         // takes the request and says nothing
  kRateLimit,    // 429 with Retry-After: 1
  kServerError,  // 503
  kSlow,         // the first token takes kSlowFactor times as long
  kCut,          // the connection ends in the middle of the answer
};

inline constexpr int kSlowFactor = 20;

std::string_view outage_name(Outage outage);

struct SimOptions {
  std::string model;
  std::chrono::milliseconds first_token{50};
  std::chrono::milliseconds between{5};
  int tokens = 24;
};

// What a model of that name answers: two models never say the same, so that an answer mended with
// another model's words is noticed.
std::string sim_answer(std::string_view model, int tokens);

// Lives on the io thread; outlives its requests: call stop() and let the loop run before.
class SimUpstream {
 public:
  SimUpstream(Executor executor, SimOptions options);

  // Listens on a free port of 127.0.0.1; the same one after an outage.
  Result<net::Address> listen();
  Result<void> set(Outage outage);
  void stop();

  const SimOptions& options() const { return options_; }

  std::int64_t requests() const { return requests_; }

 private:
  Task<void> handle(const net::ServerRequest& request, net::ResponseWriter& response);
  Task<void> refuse(net::ResponseWriter& response, int status);
  Task<void> answer(net::ResponseWriter& response);
  // False when the client or the drill is gone meanwhile.
  Task<bool> pause(std::chrono::milliseconds time, const CancelToken& client_gone);

  Executor executor_;
  SimOptions options_;
  Outage outage_ = Outage::kNone;
  net::Address address_{.host = "127.0.0.1", .port = 0, .unix_path = {}};
  std::unique_ptr<net::Server> server_;
  CancelSource stopping_;
  std::int64_t requests_ = 0;
};

}  // namespace genesis::app
