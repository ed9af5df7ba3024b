#include "app/chat_session.h"

#include "app/graph.h"
#include "app/running.h"
#include "provider/openai.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <cstdlib>
#include <optional>

namespace genesis::app {

namespace {

constexpr std::chrono::seconds kEngineGrace{2};

// Collects the answer, shows it as it comes, and hears Ctrl+C.
class CollectingSink final : public ChatSink {
 public:
  CollectingSink(const OnText& on_text, CancelToken cancel)
      : on_text_(on_text), cancel_(std::move(cancel)) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    answer_.served = served;
    co_return Result<void>{};
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    if (!delta.text.empty()) {
      answer_.text += delta.text;
      on_text_(delta.text);
    }
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return cancel_; }

  Answer take() { return std::move(answer_); }

 private:
  const OnText& on_text_;
  CancelToken cancel_;
  Answer answer_;
};

// Runs one request on the event loop until it is complete.
Result<Answer> run_request(boost::asio::io_context& io,
                           ChatModel& model,
                           const ChatRequest& request,
                           const OnText& on_text) {
  CancelSource interrupted;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (!error) {
      interrupted.cancel();
    }
  });
  CollectingSink sink(on_text, interrupted.token());
  std::optional<Result<Usage>> outcome;
  const auto work = [&]() -> Task<void> {
    outcome = co_await model.chat(request, sink);
    signals.cancel();
    io.stop();
  };
  boost::asio::co_spawn(io, work, boost::asio::detached);
  io.restart();
  io.run();
  if (!*outcome) {
    return std::unexpected(outcome->error());
  }
  Answer answer = sink.take();
  answer.usage = **outcome;
  return answer;
}

// Asks a gateway that is running already.
class RemoteSession final : public ChatSession {
 public:
  RemoteSession(net::BaseUrl base, std::string key)
      : client_(io_.get_executor(), {}),
        provider_(client_,
                  clock_,
                  {.base = std::move(base),
                   .api_key = std::move(key),
                   .model = {},
                   .served = {.endpoint = "gateway", .model = {}, .tier = Tier::kSelfHosted},
                   .headers = {}}) {}

  Result<Answer> ask(ChatRequest request, const OnText& on_text) override {
    request.model = request.route;
    auto answer = run_request(io_, provider_, request, on_text);
    const int status = answer ? 200 : answer.error().upstream_status;
    if (status == 401 || status == 403) {
      return fail(ErrorCode::kUnauthenticated,
                  "the running gateway wants an API key",
                  "set GENESIS_API_KEY to one that `genesis key create` made");
    }
    return answer;
  }

 private:
  boost::asio::io_context io_{1};
  SystemClock clock_;
  net::Client client_;
  provider::OpenAiProvider provider_;
};

// The whole graph in this process, without a listener.
class OwnSession final : public ChatSession {
 public:
  static Result<std::unique_ptr<ChatSession>> open(const Config& config,
                                                   const Home& home,
                                                   const OnProgress& progress) {
    auto session = std::unique_ptr<OwnSession>(new OwnSession());
    GENESIS_TRY(session->graph_,
                Graph::open(session->io_, std::make_shared<const Config>(config), home));
    GENESIS_TRY_VOID(session->graph_->build(progress));
    session->graph_->start();
    return session;
  }

  ~OwnSession() override {
    if (!graph_) {
      return;
    }
    const auto work = [&]() -> Task<void> {
      co_await graph_->stop(kEngineGrace);
      io_.stop();
    };
    boost::asio::co_spawn(io_, work, boost::asio::detached);
    io_.restart();
    io_.run();
  }

  Result<Answer> ask(ChatRequest request, const OnText& on_text) override {
    return run_request(io_, graph_->chat(), request, on_text);
  }

 private:
  OwnSession() = default;

  boost::asio::io_context io_{1};
  std::unique_ptr<Graph> graph_;
};

}  // namespace

Result<std::unique_ptr<ChatSession>> ChatSession::open(const Config& config,
                                                       const Home& home,
                                                       const OnProgress& progress) {
  const auto running = read_running(home);
  if (!running) {
    return OwnSession::open(config, home, progress);
  }
  GENESIS_TRY(net::BaseUrl base, net::parse_base_url(running->url));
  base.path = "/v1";
  const char* key =
      std::getenv("GENESIS_API_KEY");  // NOLINT(concurrency-mt-unsafe): before any thread
  return std::make_unique<RemoteSession>(std::move(base), key == nullptr ? "" : key);
}

}  // namespace genesis::app
