// Graph: every object behind the gateway, built from the configuration and owned in one place.
// `serve` puts a listener in front of it; `run` and `chat` ask it directly.
#pragma once

#include "api/catalog.h"
#include "api/chat.h"
#include "app/config.h"
#include "app/engine_supervisor.h"
#include "app/home.h"
#include "app/progress.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "ledger/keys.h"
#include "server/gateway.h"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace genesis::app {

// Lives on the io thread of `io`, which outlives it. Call stop() and let it finish before
// destruction.
class Graph {
 public:
  // Opens the ledger and the keys; only keys() and clock() can be used before build().
  static Result<std::unique_ptr<Graph>> open(boost::asio::io_context& io,
                                             std::shared_ptr<const Config> config,
                                             const Home& home);
  virtual ~Graph() = default;

  // Once: pulls the default model if a local endpoint needs it and reads secrets. Nothing is
  // started and nothing listens yet.
  virtual Result<void> build(const OnProgress& progress) = 0;

  // Starts the engines and the machine clock.
  virtual void start() = 0;
  // Ends the answers in flight with an error that tells why.
  virtual void stop_answers() = 0;
  // Stops the engines and settles the ledger.
  virtual Task<void> stop(std::chrono::milliseconds grace) = 0;

  // Puts another configuration in force for the requests that begin after it; all or nothing, one
  // call at a time. Endpoints that are the same go on with their breakers, connections
  // and engines; what nobody uses any more is torn down when the last request of its generation has
  // ended. Models are not pulled. The caller has checked that what cannot change is the same.
  virtual Task<Result<void>> reload(std::shared_ptr<const Config> config) = 0;

  // The configuration in force, and how many there were so far.
  virtual const Config& config() const = 0;
  virtual int generation() const = 0;

  virtual ChatModel& chat() = 0;
  // Of a request; nullopt where the endpoint that would answer cannot tell.
  virtual Task<Result<std::optional<std::int64_t>>> count_tokens(const ChatRequest& request) = 0;
  virtual const ModelCatalog& catalog() const = 0;
  virtual const server::Authenticator& authenticator() const = 0;
  virtual ledger::KeyStore& keys() = 0;
  virtual MetricsRegistry& metrics() = 0;
  virtual const Clock& clock() const = 0;
  virtual server::Readiness readiness() const = 0;
  // Share of the ledger's write queue that is in use.
  virtual double ledger_queue() const = 0;
  // How long the first request has been waiting whose booking has not come back.
  virtual std::chrono::nanoseconds booking_wait() const = 0;
  virtual server::ServiceInfo info() const = 0;
  virtual std::vector<server::AdminRoute> admin_routes() = 0;
  virtual std::vector<std::shared_ptr<EngineSupervisor>> engines() = 0;
};

}  // namespace genesis::app
