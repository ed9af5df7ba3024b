// What the server's tests share: a response that records, a model that follows a script, and a
// world that sends one request through a Gateway. No sockets.
#pragma once

#include "server/gateway.h"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace genesis::server {

// Records what the handler writes. Each write takes one turn of the event loop and two at a time
// are counted as overlaps.
class FakeResponse final : public net::ResponseWriter {
 public:
  explicit FakeResponse(Executor executor) : executor_(std::move(executor)) {}

  Task<Result<void>> send(int status, const net::Headers& headers, std::string_view body) override;
  Task<Result<void>> start_stream(int status, const net::Headers& headers) override;
  Task<Result<void>> write(std::string_view bytes) override;
  Task<Result<void>> finish() override;

  bool started() const override { return status != 0; }

  CancelToken client_gone() const override { return gone.token(); }

  std::string header(std::string_view name) const {
    return std::string(headers.get(name).value_or("<none>"));
  }

  // The body with this request's own id replaced by "ID".
  std::string normal() const;

  int status = 0;
  net::Headers headers;
  std::string body;
  bool streamed = false;
  bool finished = false;
  int overlaps = 0;
  int writes_until_failure = -1;  // -1 = never fails
  CancelSource gone;

 private:
  Executor executor_;
  bool writing_ = false;
};

using Script = std::function<Task<Result<Usage>>(const ChatRequest&, ChatSink&)>;

class ScriptedChat final : public ChatModel {
 public:
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

  Script script;
  std::vector<ChatRequest> seen;
};

// A script that begins, writes `deltas` and returns `outcome`.
Script answers(std::vector<ChatDelta> deltas,
               Result<Usage> outcome = Usage{.input = 7, .output = 2});
// One that fails before it begins.
Script fails_with(Error error);

TokenInfo token(int id, std::string text, float logprob);

// One gateway with scripted ports. Keys: "user-key", "admin-key", and "small-key" for model "tiny";
// "none" is a placeholder that stands for no key.
struct World {
  explicit World(GatewayOptions options = {});
  ~World();

  std::unique_ptr<FakeResponse> call(net::ServerRequest request);
  std::unique_ptr<FakeResponse> post(std::string path,
                                     std::string body,
                                     std::string key = "user-key");
  std::unique_ptr<FakeResponse> get(std::string path, std::string key = "user-key");

  boost::asio::io_context io;
  ManualClock clock{1'700'000'000'000};
  MetricsRegistry metrics;
  ScriptedChat chat;
  std::vector<std::string> not_ready;
  RateLimits limits;  // of "user-key"
  // "new-key" is one that another process made: unknown until it is learned, or with the error that
  // learning has.
  int learned = 0;
  Result<void> learning;
  // Called with each response before its handler runs.
  std::function<void(FakeResponse&)> prepare;
  std::unique_ptr<Gateway> gateway;

 private:
  struct Ports;
  std::unique_ptr<Ports> ports_;
};

net::ServerRequest make_request(std::string method, std::string path, std::string body = {});

}  // namespace genesis::server
