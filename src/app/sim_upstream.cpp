#include "app/sim_upstream.h"

#include "base/json.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <utility>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// Longer than any drill; a hanging request ends with its client.
constexpr milliseconds kForever{std::chrono::hours(24)};

std::string word(std::string_view model, int index) {
  return fmt::format("{}{}-{}", index == 0 ? "" : " ", model, index);
}

std::string frame(std::string_view model, std::string_view content, bool last) {
  JsonWriter w;
  w.begin_object();
  w.field("id", "chatcmpl-drill");
  w.field("object", "chat.completion.chunk");
  w.field("created", std::int64_t{0});
  w.field("model", model);
  w.key("choices");
  w.begin_array();
  w.begin_object();
  w.field("index", std::int64_t{0});
  w.key("delta");
  w.begin_object();
  if (!last) {
    w.field("role", "assistant");
    w.field("content", content);
  }
  w.end_object();
  if (last) {
    w.field("finish_reason", "stop");
  } else {
    w.field_null("finish_reason");
  }
  w.end_object();
  w.end_array();
  w.end_object();
  return "data: " + w.take() + "\n\n";
}

std::string usage_frame(std::string_view model, int tokens) {
  return fmt::format(
      R"(data: {{"id":"chatcmpl-drill","object":"chat.completion.chunk","created":0,"model":"{}",)"
      R"("choices":[],"usage":{{"prompt_tokens":40,"completion_tokens":{},"total_tokens":{}}}}})"
      "\n\n",
      model,
      tokens,
      40 + tokens);
}

}  // namespace

std::string_view outage_name(Outage outage) {
  switch (outage) {
    case Outage::kNone:
      return "none";
    case Outage::kRefuse:
      return "refused connections";
    case Outage::kHang:
      return "silence";
    case Outage::kRateLimit:
      return "429 with Retry-After";
    case Outage::kServerError:
      return "503";
    case Outage::kSlow:
      return "slow first token";
    case Outage::kCut:
      return "cut streams";
  }
  return "none";
}

std::string sim_answer(std::string_view model, int tokens) {
  std::string text;
  for (int i = 0; i < tokens; ++i) {
    text += word(model, i);
  }
  return text;
}

SimUpstream::SimUpstream(Executor executor, SimOptions options)
    : executor_(std::move(executor)), options_(std::move(options)) {}

Result<net::Address> SimUpstream::listen() {
  server_ = std::make_unique<net::Server>(
      executor_,
      [this](const net::ServerRequest& request, net::ResponseWriter& response) {
        return handle(request, response);
      },
      net::ServerLimits{});
  GENESIS_TRY(address_, server_->listen(address_));
  return address_;
}

Result<void> SimUpstream::set(Outage outage) {
  const bool was_gone = std::exchange(outage_, outage) == Outage::kRefuse;
  if (outage == Outage::kRefuse) {
    server_.reset();
  } else if (was_gone) {
    GENESIS_TRY(const auto address, listen());
    (void)address;
  }
  return {};
}

void SimUpstream::stop() {
  stopping_.cancel();
  server_.reset();
}

Task<void> SimUpstream::handle(const net::ServerRequest& request, net::ResponseWriter& response) {
  ++requests_;
  if (!request.path.ends_with("/chat/completions")) {
    co_await refuse(response, 404);
    co_return;
  }
  switch (outage_) {
    case Outage::kHang:
      co_await pause(kForever, response.client_gone());
      co_return;
    case Outage::kRateLimit:
      co_await refuse(response, 429);
      co_return;
    case Outage::kServerError:
      co_await refuse(response, 503);
      co_return;
    case Outage::kRefuse:
      co_return;  // the connection was open already: closed without a word
    case Outage::kNone:
    case Outage::kSlow:
    case Outage::kCut:
      break;
  }
  co_await answer(response);
}

Task<void> SimUpstream::refuse(net::ResponseWriter& response, int status) {
  net::Headers headers;
  headers.add("Content-Type", "application/json");
  if (status == 429) {
    headers.add("Retry-After", "1");
  }
  const std::string body = fmt::format(
      R"({{"error":{{"message":"drill: {}","type":"drill","param":null,"code":null}}}})", status);
  (void)co_await response.send(status, headers, body);
}

Task<void> SimUpstream::answer(net::ResponseWriter& response) {
  const CancelToken gone = response.client_gone();
  const bool cut = outage_ == Outage::kCut;
  const int factor = outage_ == Outage::kSlow ? kSlowFactor : 1;
  if (!co_await pause(options_.first_token * factor, gone)) {
    co_return;
  }
  net::Headers headers;
  headers.add("Content-Type", "text/event-stream");
  if (!co_await response.start_stream(200, headers)) {
    co_return;
  }
  for (int i = 0; i < options_.tokens; ++i) {
    if (cut && i == options_.tokens / 2) {
      co_return;  // without finish(): the connection breaks off
    }
    if (i > 0 && !co_await pause(options_.between, gone)) {
      co_return;
    }
    if (!co_await response.write(frame(options_.model, word(options_.model, i), false))) {
      co_return;
    }
  }
  const std::string end = frame(options_.model, "", true) +
                          usage_frame(options_.model, options_.tokens) + "data: [DONE]\n\n";
  if (co_await response.write(end)) {
    (void)co_await response.finish();
  }
}

Task<bool> SimUpstream::pause(milliseconds time, const CancelToken& client_gone) {
  boost::asio::steady_timer timer(executor_, time);
  const CancelHook on_gone = client_gone.on_cancel([&timer] { timer.cancel(); });
  const CancelHook on_stop = stopping_.token().on_cancel([&timer] { timer.cancel(); });
  if (!client_gone.cancelled() && !stopping_.token().cancelled()) {
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  co_return !client_gone.cancelled() && !stopping_.token().cancelled();
}

}  // namespace genesis::app
