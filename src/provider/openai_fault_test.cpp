// The provider against an in-process upstream: whole exchanges, and every way an upstream can fail.
#include "net/sse.h"
#include "provider/openai_response.h"
#include "provider/provider_fixture.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

using namespace std::chrono_literals;

const std::string kHello = chunk(R"({"role":"assistant","content":""})") +
                           chunk(R"({"content":"Hel"})") + chunk(R"({"content":"lo"})") +
                           chunk("{}", R"(,"finish_reason":"stop")");

class OpenAiFault : public ProviderTest {
 public:
  std::string ask(bool streamed = true) { return error_name(chat(question(streamed))); }
};

TEST_F(OpenAiFault, StreamsAnAnswer) {
  stream(kHello + std::string(kUsageChunk) + std::string(kDoneFrame));
  options.api_key = "sk-secret";
  const auto usage = chat(question(true));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 7);
  EXPECT_EQ(usage->cached_input, 4);
  EXPECT_EQ(usage->output, 3);
  EXPECT_EQ(
      sink.lines,
      (std::vector<std::string>{"begin up", "0 ||", "0 Hel||", "0 lo||", "0 || stop", "0 ||"}));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].method, "POST");
  EXPECT_EQ(seen[0].path, "/v1/chat/completions");
  EXPECT_EQ(seen[0].headers.get("authorization"), "Bearer sk-secret");
  EXPECT_EQ(seen[0].headers.get("accept"), "text/event-stream");
  EXPECT_EQ(seen[0].headers.get("x-request-id"), "req-2");
  EXPECT_EQ(
      seen[0].body,
      R"({"model":"upstream-model","messages":[{"role":"user","content":"hi"}],"stream":true,)"
      R"("stream_options":{"include_usage":true}})");
}

TEST_F(OpenAiFault, AnswersWithoutStreaming) {
  reply(200,
        R"({"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},)"
        R"("finish_reason":"stop"}],)"
        R"("usage":{"prompt_tokens":7,"completion_tokens":3}})");
  const auto usage = chat(question(false));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->output, 3);
  EXPECT_EQ(sink.lines, (std::vector<std::string>{"begin up", "0 Hello|| stop"}));
  EXPECT_EQ(seen.at(0).headers.get("accept"), "application/json");
}

TEST_F(OpenAiFault, AnySplitGivesTheSameDeltas) {
  const std::string text = "\xEF\xBB\xBF: ping\r\n\r\n" +
                           chunk(R"({"content":"h\u00e9 )"
                                 "\xE2\x82\xAC"
                                 R"("})") +
                           kHello + std::string(kUsageChunk) + std::string(kDoneFrame);
  const ChatRequest request = question(true);
  const auto read = [&](std::size_t piece) {
    net::SseReader sse;
    OpenAiReader reader(request, "up");
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      const auto events = sse.push(std::string_view(text).substr(at, piece));
      for (const net::SseEvent& event : *events) {
        if (event.data != "[DONE]") {
          for (const ChatDelta& delta : reader.read(event.data)->deltas) {
            lines.push_back(describe(delta));
          }
        }
      }
    }
    return lines;
  };
  const auto whole = read(text.size());
  ASSERT_EQ(whole.size(), 5U);
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    ASSERT_EQ(read(piece), whole) << "pieces of " << piece;
  }
  for (const std::size_t piece : {1U, 2U, 7U, 100U}) {
    sink = RecordingSink();
    stream(text, false, piece);
    ASSERT_EQ(ask(), "ok");
    EXPECT_EQ(sink.text(), "h\xC3\xA9 \xE2\x82\xACHello") << "written in pieces of " << piece;
  }
}

TEST_F(OpenAiFault, ACutStreamIsNeverASuccess) {
  const std::string cut_after[] = {
      "", chunk(R"({"content":"Hel"})"), kHello.substr(0, kHello.size() - 1)};
  for (const std::string& text : cut_after) {
    for (const bool cut : {true, false}) {
      sink = RecordingSink();
      stream(text, cut);
      EXPECT_EQ(ask(), "unavailable") << text;
    }
  }
  stream(chunk(R"({"content":"Hel"})") + std::string(kDoneFrame));
  EXPECT_EQ(ask(), "unavailable") << "[DONE] without a finish_reason";
  ChatRequest two = question(true);
  two.n = 2;
  stream(kHello + std::string(kDoneFrame));
  EXPECT_EQ(error_name(chat(two)), "unavailable") << "the second choice never ended";
}

TEST_F(OpenAiFault, ACompleteAnswerNeedsNoDone) {
  for (const bool cut : {true, false}) {
    sink = RecordingSink();
    stream(kHello, cut);
    const auto usage = chat(question(true));
    ASSERT_TRUE(usage) << usage.error().message;
    EXPECT_EQ(sink.text(), "Hello");
    EXPECT_EQ(usage->input, 0);
    EXPECT_EQ(usage->output, 3) << "the deltas seen, as the upstream told nothing";
  }
  // An upstream that neither tells the usage nor ends: complete after the wait.
  options.usage_wait = 30ms;
  upstream([this](const net::ServerRequest&, net::ResponseWriter& response) -> Task<void> {
    co_await response.start_stream(200, {});
    co_await response.write(kHello);
    const CancelToken gone = response.client_gone();
    while (!gone.cancelled()) {
      co_await sleep(1ms);
    }
    client_left = true;
  });
  sink = RecordingSink();
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(sink.text(), "Hello");
  spin([&] { return client_left; });
}

TEST_F(OpenAiFault, TheConnectionIsReusedAfterDone) {
  std::string peer;
  int same = 0;
  upstream([&](const net::ServerRequest& request, net::ResponseWriter& response) -> Task<void> {
    same += request.peer == peer ? 1 : 0;
    peer = request.peer;
    net::Headers headers;
    headers.add("Content-Type", "text/event-stream");
    co_await response.start_stream(200, headers);
    co_await response.write(kHello + std::string(kUsageChunk) + std::string(kDoneFrame));
    co_await sleep(2ms);
    co_await response.finish();
  });
  for (int i = 0; i < 3; ++i) {
    sink = RecordingSink();
    ASSERT_EQ(ask(), "ok");
    bool waited = false;
    boost::asio::co_spawn(io, sleep(20ms), [&](std::exception_ptr) { waited = true; });
    spin([&] { return waited; });
  }
  EXPECT_EQ(same, 2);
}

TEST_F(OpenAiFault, GarbageInTheStreamIsACleanError) {
  const std::string garbage[] = {"data: {not json}\n\n",
                                 "data: {\"choices\":[]} {\"choices\":[]}\n\n",
                                 "data: {\"foo\":1}\n\n",
                                 "data: {\"choices\":[{\"index\":9,\"delta\":{}}]}\n\n",
                                 "data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n"};
  for (const std::string& text : garbage) {
    for (const std::string& before : {std::string(), chunk(R"({"content":"Hel"})")}) {
      sink = RecordingSink();
      stream(std::string(before).append(text).append(kHello));
      EXPECT_EQ(ask(), "upstream") << text;
      EXPECT_EQ(sink.lines.empty(), before.empty());
    }
  }
  options.max_event_bytes = 1000;
  stream("data: " + std::string(2000, 'x'));
  EXPECT_EQ(ask(), "upstream");
  stream(kHello + chunk(R"({"content":"more"})") + std::string(kDoneFrame));
  EXPECT_EQ(ask(), "upstream") << "text after the finish_reason";
}

TEST_F(OpenAiFault, ErrorsInsideA200) {
  stream(R"(data: {"error":{"message":"busy","type":"overloaded_error"}})"
         "\n\n");
  EXPECT_EQ(ask(), "unavailable");
  EXPECT_TRUE(sink.lines.empty()) << "nothing was committed";
  stream("event: error\ndata: {\"choices\":[]}\n\n");
  EXPECT_EQ(ask(), "upstream");
  reply(200, R"({"error":{"message":"m","code":429}})");
  EXPECT_EQ(ask(), "rate_limited") << "a JSON error where a stream was asked for";
  EXPECT_EQ(ask(false), "rate_limited");
  net::Headers html;
  html.add("Content-Type", "text/html");
  reply(200, "<html>login</html>", html);
  EXPECT_EQ(ask(), "upstream");
  EXPECT_EQ(ask(false), "upstream");
  for (const std::string_view body :
       {"",
        "{}",
        "<html>",
        R"({"choices":[]})",
        R"({"choices":[{"message":{"content":"x"}}]})",
        R"({"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],)"
        R"("usage":{"prompt_tokens":-1}})"}) {
    reply(200, std::string(body));
    EXPECT_EQ(ask(false), "upstream") << body;
    EXPECT_TRUE(sink.lines.empty()) << body;
  }
  net::Headers gzip = json_headers();
  gzip.add("Content-Encoding", "gzip");
  reply(200, "x", gzip);
  EXPECT_EQ(ask(false), "upstream");
}

TEST_F(OpenAiFault, AbsurdUsageOfADeliveredStreamIsNotBooked) {
  stream(kHello +
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1}}\n\n" +
         std::string(kDoneFrame));
  const auto usage = chat(question(true));
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->input, 0);
  EXPECT_EQ(usage->output, 3);
}

TEST_F(OpenAiFault, RefusalsCarryStatusAndRetryAfter) {
  net::Headers headers = json_headers();
  headers.add("Retry-After", "2");
  reply(429, R"({"error":{"message":"slow down"}})", headers);
  const auto limited = chat(question(true));
  EXPECT_EQ(error_name(limited), "rate_limited");
  EXPECT_EQ(limited.error().upstream_status, 429);
  EXPECT_EQ(limited.error().retry_after, std::chrono::milliseconds(2000));
  reply(400, R"({"error":{"message":"too long","code":"context_length_exceeded"}})");
  EXPECT_EQ(ask(), "context_length");
  options.api_key = "sk-secret";
  reply(500, R"({"error":{"message":"bad key sk-secret"}})");
  options.api_key = "sk-secret";
  const auto leaked = chat(question(true));
  EXPECT_EQ(error_name(leaked), "unavailable");
  EXPECT_EQ(leaked.error().message.find("sk-secret"), std::string::npos) << leaked.error().message;
  EXPECT_TRUE(sink.lines.empty());
}

TEST_F(OpenAiFault, RefusedAndResetConnectionsAreUnavailable) {
  reply(200, "");
  boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
  const auto port = acceptor.local_endpoint().port();
  options.base = *net::parse_base_url("http://127.0.0.1:" + std::to_string(port));
  acceptor.async_accept([](boost::system::error_code, boost::asio::ip::tcp::socket socket) {
    socket.set_option(boost::asio::socket_base::linger(true, 0));
  });
  EXPECT_EQ(ask(), "unavailable") << "reset before the head";
  acceptor.close();
  EXPECT_EQ(ask(), "unavailable") << "refused";
}

TEST_F(OpenAiFault, CancellingTheSinkStopsTheUpstream) {
  for (const bool headers_first : {false, true}) {
    sink = RecordingSink();
    client_left = false;
    upstream([this, headers_first](const net::ServerRequest&,
                                   net::ResponseWriter& response) -> Task<void> {
      if (headers_first) {
        co_await response.start_stream(200, {});
        co_await response.write(chunk(R"({"content":"Hel"})"));
      }
      co_await sleep(5ms);
      sink.source.cancel();
      const CancelToken gone = response.client_gone();
      while (!gone.cancelled()) {
        co_await sleep(1ms);
      }
      client_left = true;
    });
    EXPECT_EQ(ask(), "cancelled");
    spin([&] { return client_left; });
  }
}

TEST_F(OpenAiFault, AFailingSinkStopsTheUpstream) {
  upstream([this](const net::ServerRequest&, net::ResponseWriter& response) -> Task<void> {
    co_await response.start_stream(200, {});
    for (;;) {
      const auto written = co_await response.write(chunk(R"({"content":"x"})"));
      if (!written) {
        client_left = true;
        co_return;
      }
      co_await sleep(1ms);
    }
  });
  sink.refuse_after = 2;
  EXPECT_EQ(ask(), "cancelled");
  EXPECT_EQ(sink.deltas.size(), 2U);
  spin([&] { return client_left; });
}

}  // namespace
}  // namespace genesis::provider
