// The Anthropic provider against an in-process upstream: events, bodies, errors, splits.
#include "provider/anthropic.h"

#include "net/sse.h"
#include "provider/anthropic_response.h"
#include "provider/provider_fixture.h"

#include <gtest/gtest.h>

#include <random>

namespace genesis::provider {
namespace {

std::string event(std::string_view json) {
  const auto name_at = json.find("\"type\":\"") + 8;
  return "event: " + std::string(json.substr(name_at, json.find('"', name_at) - name_at)) +
         "\ndata: " + std::string(json) + "\n\n";
}

const std::string kStart =
    event(R"({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",)"
          R"("model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":10,)"
          R"("cache_creation_input_tokens":3,"cache_read_input_tokens":5,"output_tokens":1}}})");
const std::string kStop = event(R"({"type":"message_stop"})");

std::string block(int index, std::string_view content, const std::vector<std::string>& deltas) {
  const std::string at = "\"index\":" + std::to_string(index);
  std::string out = event(R"({"type":"content_block_start",)" + at + R"(,"content_block":)" +
                          std::string(content) + "}");
  for (const std::string& delta : deltas) {
    out += event(R"({"type":"content_block_delta",)" + at + R"(,"delta":)" + delta + "}");
  }
  return out + event(R"({"type":"content_block_stop",)" + at + "}");
}

std::string ending(std::string_view reason, std::string_view sequence = "null") {
  return event(R"({"type":"message_delta","delta":{"stop_reason":")" + std::string(reason) +
               R"(","stop_sequence":)" + std::string(sequence) +
               R"(},"usage":{"output_tokens":42}})");
}

const std::string kText =
    block(0,
          R"({"type":"text","text":""})",
          {R"({"type":"text_delta","text":"Hel"})", R"({"type":"text_delta","text":"l\u00f6"})"});
const std::string kAnswer =
    kStart + event(R"({"type":"ping"})") +
    block(0,
          R"({"type":"thinking","thinking":""})",
          {R"({"type":"thinking_delta","thinking":"hm"})",
           R"({"type":"signature_delta","signature":"sig"})"}) +
    block(1, R"({"type":"text","text":""})", {R"({"type":"text_delta","text":"Hi"})"}) +
    block(2,
          R"({"type":"tool_use","id":"toolu_1","name":"f","input":{}})",
          {R"({"type":"input_json_delta","partial_json":""})",
           R"({"type":"input_json_delta","partial_json":"{\"a\""})",
           R"({"type":"input_json_delta","partial_json":":1}"})"}) +
    block(3, R"({"type":"tool_use","id":"toolu_2","name":"g","input":{}})", {}) +
    ending("tool_use") + kStop;

class Anthropic : public ProviderTest {
 public:
  std::unique_ptr<ChatModel> make_provider() override {
    return std::make_unique<AnthropicProvider>(client(), clock, options);
  }

  std::string ask(bool streamed = true) { return error_name(chat(question(streamed))); }

  static ChatRequest native(bool streamed) {
    ChatRequest request = question(streamed);
    request.dialect = Dialect::kAnthropic;
    auto input = std::make_shared<ChatInput>();
    input->native = R"({"model":"auto","max_tokens":5,"messages":[],"x":1})";
    input->native_headers = {{"anthropic-version", "2099-01-01"}, {"anthropic-beta", "b1,b2"}};
    request.input = std::move(input);
    return request;
  }
};

TEST_F(Anthropic, StreamsAnAnswer) {
  stream(kAnswer);
  options.api_key = "sk-ant-secret";
  options.headers = {{"x-extra", "on"}};
  const auto usage = chat(question(true));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 18);
  EXPECT_EQ(usage->cached_input, 5);
  EXPECT_EQ(usage->cache_write, 3);
  EXPECT_EQ(usage->output, 42);
  EXPECT_EQ(sink.lines,
            (std::vector<std::string>{
                "begin up",
                "0 |hm|",
                "0 Hi||",
                R"(0 ||[{"index":0,"id":"toolu_1","type":"function","function":{"name":"f",)"
                R"("arguments":""}}])",
                R"(0 ||[{"index":0,"function":{"arguments":"{\"a\""}}])",
                R"(0 ||[{"index":0,"function":{"arguments":":1}"}}])",
                R"(0 ||[{"index":1,"id":"toolu_2","type":"function","function":{"name":"g",)"
                R"("arguments":""}}])",
                R"(0 ||[{"index":1,"function":{"arguments":"{}"}}])",
                "0 || tool_calls"}));
  EXPECT_EQ(seen.at(0).path, "/v1/messages");
  EXPECT_EQ(seen[0].headers.get("x-api-key"), "sk-ant-secret");
  EXPECT_EQ(seen[0].headers.get("anthropic-version"), "2023-06-01");
  EXPECT_EQ(seen[0].headers.get("x-extra"), "on");
  EXPECT_FALSE(seen[0].headers.get("authorization"));
  EXPECT_EQ(seen[0].body,
            R"({"model":"upstream-model","messages":[{"role":"user","content":[{"type":"text",)"
            R"("text":"hi"}]}],"max_tokens":4096,"stream":true})");
}

TEST_F(Anthropic, PassesNativeEventsOnAsTheyAre) {
  stream(kAnswer);
  ASSERT_EQ(error_name(chat(native(true))), "ok");
  EXPECT_EQ(seen.at(0).headers.get("anthropic-version"), "2099-01-01");
  EXPECT_EQ(seen.at(0).headers.get("anthropic-beta"), "b1,b2");
  EXPECT_EQ(seen.at(0).body,
            R"({"model":"upstream-model","max_tokens":5,"messages":[],"x":1,"stream":true})");
  std::string wire;
  for (const ChatDelta& delta : sink.deltas) {
    ASSERT_FALSE(delta.raw.empty());
    wire += "event: " + delta.raw_event + "\ndata: " + delta.raw + "\n\n";
  }
  std::string expected = kAnswer;
  const std::string ping = event(R"({"type":"ping"})");
  expected.erase(expected.find(ping), ping.size());
  EXPECT_EQ(wire, expected);
  EXPECT_TRUE(sink.deltas.back().finish);
}

TEST_F(Anthropic, ReadsWholeMessages) {
  const std::string body =
      R"({"id":"msg","type":"message","content":[{"type":"thinking","thinking":"t",)"
      R"("signature":"s"},)"
      R"({"type":"text","text":"Hello"},{"type":"tool_use","id":"a","name":"f",)"
      R"("input":{"x":[1]}}],)"
      R"("stop_reason":"stop_sequence","stop_sequence":"END",)"
      R"("usage":{"input_tokens":3,"output_tokens":4}})";
  reply(200, body);
  const auto usage = chat(native(false));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 3);
  EXPECT_EQ(usage->output, 4);
  ASSERT_EQ(sink.deltas.size(), 1U);
  const ChatDelta& delta = sink.deltas[0];
  EXPECT_EQ(delta.raw, body);
  EXPECT_EQ(delta.stop_sequence, "END");
  EXPECT_EQ(describe(delta),
            R"(0 Hello|t|[{"index":0,"id":"a","type":"function","function":{"name":"f",)"
            R"("arguments":"{\"x\":[1]}"}}] stop_sequence)");
  sink = RecordingSink();
  ASSERT_EQ(ask(false), "ok");
  EXPECT_EQ(sink.deltas.at(0).raw, "");
}

TEST_F(Anthropic, MapsStopReasons) {
  const std::pair<std::string, std::string> cases[] = {{"end_turn", "stop"},
                                                       {"max_tokens", "length"},
                                                       {"stop_sequence", "stop_sequence"},
                                                       {"tool_use", "tool_calls"},
                                                       {"refusal", "filter"},
                                                       {"pause_turn", "stop"},
                                                       {"something_new", "stop"}};
  for (const auto& [reason, finish] : cases) {
    sink = RecordingSink();
    stream(kStart + kText + ending(reason) + kStop);
    ASSERT_EQ(ask(), "ok") << reason;
    EXPECT_EQ(sink.lines.back(), "0 || " + finish) << reason;
    EXPECT_EQ(sink.text(), "Hell\xC3\xB6");
  }
}

TEST_F(Anthropic, ACutStreamIsNeverASuccess) {
  const std::string whole = kStart + kText + ending("end_turn") + kStop;
  for (const std::string& text :
       {std::string(), kStart, kStart + kText, kStart + kText + ending("end_turn")}) {
    for (const bool cut : {true, false}) {
      sink = RecordingSink();
      stream(text, cut);
      EXPECT_EQ(ask(), "unavailable") << text;
      EXPECT_EQ(sink.lines.empty(), !text.contains("Hel"));
    }
  }
  stream(kStart + kText + kStop);
  EXPECT_EQ(ask(), "upstream") << "message_stop without a stop_reason";
}

TEST_F(Anthropic, UnusableEventsAreUpstreamErrors) {
  for (const std::string_view text : {"data: {not json}\n\n",
                                      "data: []\n\n",
                                      "data: {\"type\":\"message_start\"}\n\n",
                                      "data: {\"type\":\"content_block_start\",\"index\":0}\n\n",
                                      "data: {\"type\":\"content_block_delta\"}\n\n",
                                      "data: {\"type\":\"content_block_delta\",\"index\":0,"
                                      "\"delta\":{\"type\":\"text_delta\",\"text\":7}}\n\n",
                                      "data: {\"type\":\"content_block_start\",\"index\":0,"
                                      "\"content_block\":{\"type\":\"tool_use\"}}\n\n"}) {
    stream(std::string(text) + kStart + kText + ending("end_turn") + kStop);
    EXPECT_EQ(ask(), "upstream") << text;
  }
  sink = RecordingSink();
  stream(event(R"({"type":"brand_new","x":1})") + kStart + kText + ending("end_turn") + kStop);
  EXPECT_EQ(ask(), "ok") << "unknown events are to be expected";
}

TEST_F(Anthropic, MapsErrors) {
  const auto said = [](std::string_view type, std::string_view message) {
    return R"({"type":"error","error":{"type":")" + std::string(type) + R"(","message":")" +
           std::string(message) + R"("}})";
  };

  const struct {
    int status;
    std::string type;
    std::string message;
    std::string code;
  } cases[] = {
      {529, "overloaded_error", "Overloaded", "unavailable"},
      {429, "rate_limit_error", "slow", "rate_limited"},
      {400, "invalid_request_error", "messages: bad", "invalid_argument"},
      {400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_length"},
      {400, "invalid_request_error", "Your credit balance is too low", "upstream"},
      {401, "authentication_error", "invalid x-api-key", "upstream"},
      {404, "not_found_error", "model: x", "upstream"},
      {413, "request_too_large", "too large", "invalid_argument"},
      {500, "api_error", "internal", "unavailable"}};

  for (const auto& each : cases) {
    reply(each.status, said(each.type, each.message));
    const auto result = chat(question(true));
    EXPECT_EQ(error_name(result), each.code) << each.type << " " << each.message;
    EXPECT_EQ(result.error().upstream_status, each.status);
    if (each.status == 429 || each.status == 500 || each.status == 400) {
      stream(event(said(each.type, each.message)));
      const std::string in_stream = each.type == "api_error" ? "upstream" : each.code;
      EXPECT_EQ(ask(), in_stream) << "in a stream: " << each.message;
    }
  }
  stream(kStart + kText + event(said("overloaded_error", "Overloaded")));
  EXPECT_EQ(ask(), "unavailable");
}

TEST_F(Anthropic, WaitsAsLongAsItsLimitsSay) {
  options.api_key = "k";
  net::Headers headers = json_headers();
  headers.add("anthropic-ratelimit-requests-remaining", "7");
  headers.add("anthropic-ratelimit-requests-reset", "2099-01-01T00:00:00Z");
  headers.add("anthropic-ratelimit-input-tokens-remaining", "0");
  headers.add("anthropic-ratelimit-input-tokens-reset", "2020-01-01T00:00:00Z");
  reply(429, R"({"type":"error","error":{"type":"rate_limit_error","message":"m"}})", headers);
  EXPECT_EQ(chat(question(true)).error().retry_after, std::chrono::milliseconds(0));
  headers.add("Retry-After", "3");
  reply(429, R"({"type":"error","error":{"type":"rate_limit_error","message":"m"}})", headers);
  EXPECT_EQ(chat(question(true)).error().retry_after, std::chrono::milliseconds(3000));
}

TEST_F(Anthropic, DistrustsAbsurdUsage) {
  reply(200,
        R"({"type":"message","content":[],"stop_reason":"end_turn",)"
        R"("usage":{"input_tokens":-3,"output_tokens":4}})");
  EXPECT_EQ(ask(false), "upstream");
  stream(kStart + kText +
         event(R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},)"
               R"("usage":{"output_tokens":1e30}})") +
         kStop);
  const auto usage = chat(question(true));
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->output, 3) << "what was seen";
}

TEST_F(Anthropic, RefusesEmbedding) {
  reply(200, "{}");
  ChatRequest request = question(false);
  request.dialect = Dialect::kEmbeddings;
  EXPECT_EQ(error_name(chat(request)), "unsupported");
  EXPECT_TRUE(seen.empty());
}

TEST(AnthropicStream, AnySplitGivesTheSameDeltas) {
  const unsigned seed = 4711;
  std::mt19937 random(seed);
  ChatRequest request;
  request.dialect = Dialect::kAnthropic;
  request.stream = true;
  const SystemClock clock;
  const auto read = [&](std::string_view bytes, bool whole) {
    net::SseReader sse;
    AnthropicReader reader(request, "up", clock);
    std::vector<std::string> lines;
    while (!bytes.empty()) {
      const std::size_t piece =
          whole ? bytes.size() : std::min<std::size_t>(1 + random() % 11, bytes.size());
      auto events = sse.push(bytes.substr(0, piece));
      bytes.remove_prefix(piece);
      for (net::SseEvent& each : *events) {
        const auto part = reader.read_event(each);
        for (const ChatDelta& delta : part->deltas) {
          lines.push_back(describe(delta) + " " + delta.raw_event + " " + delta.raw);
        }
      }
    }
    return lines;
  };
  const auto expected = read(kAnswer, true);
  ASSERT_EQ(expected.size(), 17U);
  for (int round = 0; round < 100; ++round) {
    const std::string_view line_end = std::vector{"\n", "\r\n", "\r"}[random() % 3];
    std::string text;
    for (const char c : kAnswer) {
      text += c == '\n' ? std::string(line_end) : std::string(1, c);
    }
    ASSERT_EQ(read(text, false), expected) << "seed " << seed << ", round " << round;
  }
}

}  // namespace
}  // namespace genesis::provider
