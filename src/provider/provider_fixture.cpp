#include "provider/provider_fixture.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdlib>
#include <iostream>
#include <optional>

namespace genesis::provider {

namespace asio = boost::asio;

std::string describe(const ChatDelta& delta) {
  std::string line = std::to_string(delta.index) + " " + delta.text + "|" + delta.reasoning + "|" +
                     delta.tool_calls_json;
  static constexpr std::string_view kNames[] = {
      "stop", "stop_sequence", "length", "tool_calls", "filter"};
  if (delta.finish) {
    line += " " + std::string(kNames[static_cast<std::size_t>(*delta.finish)]);
  }
  return line;
}

Task<Result<void>> RecordingSink::begin(const ServedBy& served) {
  lines.push_back("begin " + served.endpoint);
  co_return Result<void>{};
}

Task<Result<void>> RecordingSink::write(const ChatDelta& delta) {
  if (refuse_after >= 0 && static_cast<int>(deltas.size()) >= refuse_after) {
    co_return fail(ErrorCode::kCancelled, "the sink is closed");
  }
  deltas.push_back(delta);
  lines.push_back(describe(delta));
  co_return Result<void>{};
}

std::string RecordingSink::text() const {
  std::string all;
  for (const ChatDelta& delta : deltas) {
    all += delta.text;
  }
  return all;
}

ProviderTest::~ProviderTest() {
  client_.reset();
  server_.reset();
}

void ProviderTest::upstream(net::Handler handler) {
  server_ = std::make_unique<net::Server>(
      io.get_executor(),
      [this, handler](const net::ServerRequest& request,
                      net::ResponseWriter& response) -> Task<void> {
        seen.push_back(request);
        co_await handler(request, response);
      },
      net::ServerLimits{});
  const auto address = server_->listen(*net::parse_address("127.0.0.1:0"));
  options.base = *net::parse_base_url("http://" + address->to_string() + "/v1");
  options.served = {.endpoint = "up", .model = "m", .tier = Tier::kManaged};
  options.model = "upstream-model";
  client_ = std::make_unique<net::Client>(io.get_executor(), net::ClientOptions{});
}

void ProviderTest::stream(std::string bytes, bool cut, std::size_t piece) {
  upstream(
      [bytes, cut, piece](const net::ServerRequest&, net::ResponseWriter& response) -> Task<void> {
        net::Headers headers;
        headers.add("Content-Type", "text/event-stream; charset=utf-8");
        co_await response.start_stream(200, headers);
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
          co_await response.write(std::string_view(bytes).substr(at, piece));
        }
        if (!cut) {
          co_await response.finish();
        }
      });
}

void ProviderTest::reply(int status, std::string body, net::Headers headers) {
  upstream([status, body, headers](const net::ServerRequest&,
                                   net::ResponseWriter& response) -> Task<void> {
    co_await response.send(status, headers, body);
  });
}

net::Headers ProviderTest::json_headers() {
  net::Headers headers;
  headers.add("Content-Type", "application/json");
  return headers;
}

std::unique_ptr<ChatModel> ProviderTest::make_provider() {
  return std::make_unique<OpenAiProvider>(*client_, clock, options);
}

Result<Usage> ProviderTest::chat(const ChatRequest& request) {
  const std::unique_ptr<ChatModel> provider = make_provider();
  std::optional<Result<Usage>> result;
  asio::co_spawn(io,
                 provider->chat(request, sink),
                 [&](const std::exception_ptr& failure, Result<Usage> value) {
                   if (failure) {
                     std::rethrow_exception(failure);
                   }
                   result = std::move(value);
                 });
  spin([&] { return result.has_value(); });
  return *result;
}

Task<void> ProviderTest::sleep(std::chrono::milliseconds time) {
  asio::steady_timer timer(io, time);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

void ProviderTest::spin(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    io.restart();
    io.run_one_for(std::chrono::milliseconds(200));
    if (std::chrono::steady_clock::now() > end) {
      std::cerr << "the test hangs\n";
      std::abort();
    }
  }
}

ChatRequest ProviderTest::question(bool streamed) {
  ChatRequest request;
  request.id = "req";
  request.attempt = 2;
  request.stream = streamed;
  auto input = std::make_shared<ChatInput>();
  input->messages.push_back({.role = "user", .content = "hi"});
  request.input = std::move(input);
  return request;
}

std::string chunk(std::string_view delta, std::string_view rest) {
  return "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":" + std::string(delta) +
         std::string(rest) + "}]}\n\n";
}

std::string error_name(const Result<Usage>& result) {
  return result ? "ok" : std::string(error_code_name(result.error().code));
}

}  // namespace genesis::provider
