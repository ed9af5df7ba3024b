// An upstream's bytes, cut anywhere, read by its provider and written for a client of any dialect:
// the client's bytes are always the same, and tell the same answer in all of them.
#include "base/json.h"
#include "net/sse.h"
#include "provider/anthropic_response.h"
#include "provider/openai_response.h"
#include "server/dialogue.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {
namespace {

namespace json = boost::json;

struct Client {
  InferenceRoute route;
  const char* ask;
};

constexpr Client kChat{InferenceRoute::kChat,
                       R"({"messages":[{"role":"user","content":"x"}],"stream":true,)"
                       R"("stream_options":{"include_usage":true}})"};
constexpr Client kMessages{InferenceRoute::kMessages,
                           R"({"messages":[{"role":"user","content":"x"}],"stream":true,)"
                           R"("max_tokens":99})"};
constexpr Client kResponses{InferenceRoute::kResponses, R"({"input":"x","stream":true})"};

using MakeReader =
    std::function<std::unique_ptr<provider::AnswerReader>(const ChatRequest&, const Clock&)>;

std::unique_ptr<provider::AnswerReader> openai_reader(const ChatRequest& request,
                                                      const Clock& clock) {
  return std::make_unique<provider::OpenAiAnswerReader>(
      request,
      provider::OpenAiAnswerReader::Options{.endpoint = "up",
                                            .raw = request.dialect == Dialect::kOpenAiChat},
      clock);
}

std::unique_ptr<provider::AnswerReader> anthropic_reader(const ChatRequest& request,
                                                         const Clock& clock) {
  return std::make_unique<provider::AnthropicReader>(request, "up", clock);
}

// Thoughts, text with characters of several bytes, two calls, an end with its usage.
std::string openai_stream() {
  const auto chunk = [](std::string_view delta, std::string_view finish = "null") {
    return R"(data: {"id":"u1","object":"chat.completion.chunk","created":1,"model":"m",)"
           R"("choices":[{"index":0,"delta":{)" +
           std::string(delta) + R"(},"finish_reason":)" + std::string(finish) + "}]}\n\n";
  };
  return chunk(R"("role":"assistant","content":"")") + ": ping\r\n\r\n" +
         chunk(R"("reasoning_content":"hm \ud83d\ude80")") +
         chunk("\"content\":\"na\xC3\xAFve \xE6\x97\xA5\"") +
         chunk(R"("content":" \u65e5\n\"q\"")") +
         chunk(R"("tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f",)"
               R"("arguments":"{\"a\":"}}])") +
         chunk(R"("tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"g",)"
               R"("arguments":"{}"}}])") +
         chunk(R"("tool_calls":[{"index":0,"function":{"arguments":"[1,{}]}"}}])") +
         chunk("", "\"tool_calls\"") +
         R"(data: {"id":"u1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":8}})"
         "\n\ndata: [DONE]\n\n";
}

std::string anthropic_stream() {
  const auto event = [](std::string_view type, std::string_view members) {
    return "event: " + std::string(type) + "\r\ndata: {\"type\":\"" + std::string(type) + "\"" +
           std::string(members) + "}\r\n\r\n";
  };
  const auto delta = [&](int index, std::string_view value) {
    return event("content_block_delta",
                 ",\"index\":" + std::to_string(index) + ",\"delta\":" + std::string(value));
  };
  const auto start = [&](int index, std::string_view block) {
    return event(
        "content_block_start",
        ",\"index\":" + std::to_string(index) + ",\"content_block\":" + std::string(block));
  };
  const auto stop = [&](int index) {
    return event("content_block_stop", ",\"index\":" + std::to_string(index));
  };
  return event("message_start",
               R"(,"message":{"id":"m1","type":"message","role":"assistant","content":[],)"
               R"("usage":{"input_tokens":9,"output_tokens":1}})") +
         event("ping", "") + start(0, R"({"type":"thinking","thinking":""})") +
         delta(0, R"({"type":"thinking_delta","thinking":"hm \ud83d\ude80"})") + stop(0) +
         start(1, R"({"type":"text","text":""})") +
         delta(1, "{\"type\":\"text_delta\",\"text\":\"na\xC3\xAFve \xE6\x97\xA5\"}") +
         delta(1, R"({"type":"text_delta","text":" \u65e5\n\"q\""})") + stop(1) +
         start(2, R"({"type":"tool_use","id":"c1","name":"f","input":{}})") +
         delta(2, R"({"type":"input_json_delta","partial_json":"{\"a\":[1,{}]}"})") + stop(2) +
         start(3, R"({"type":"tool_use","id":"c2","name":"g","input":{}})") +
         delta(3, R"({"type":"input_json_delta","partial_json":"{}"})") + stop(3) +
         event("message_delta",
               R"(,"delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":8})") +
         event("message_stop", "");
}

// What the client reads when the upstream's bytes come in the pieces that `next_size` says.
std::string through(std::string_view bytes,
                    const Client& client,
                    const MakeReader& make_reader,
                    const std::function<std::size_t()>& next_size) {
  const Dialogue& dialogue = dialogue_of(client.route);
  auto call = dialogue.parse(client.ask);
  call->request.id = "req-1";
  const SystemClock clock;
  const auto reader = make_reader(call->request, clock);
  const AnswerMeta meta{
      .call = *call, .id = std::string(dialogue.id_prefix) + "1", .created = 7, .fingerprint = "g"};
  const auto format = dialogue.stream(meta);
  format->begin({.endpoint = "up", .model = "m"});
  net::SseReader sse;
  std::string out;
  Usage usage;
  bool finished = false;
  while (!bytes.empty()) {
    const std::size_t size = std::min(next_size(), bytes.size());
    auto events = sse.push(bytes.substr(0, size));
    bytes.remove_prefix(size);
    for (net::SseEvent& event : *events) {
      const auto part = reader->read_event(event);
      EXPECT_TRUE(part) << part.error().message;
      usage = part->usage.value_or(usage);
      for (const ChatDelta& delta : part->deltas) {
        if (!finished || !delta.raw.empty()) {
          out += *format->delta(delta);
        }
        finished = finished || delta.finish.has_value();
      }
    }
  }
  EXPECT_TRUE(finished);
  return out + format->end(usage);
}

// The answer in words that are the same for all dialects.
class Told {
 public:
  void chat(const json::object& chunk) {
    for (const json::value& choice : chunk.at("choices").as_array()) {
      const json::object& delta = choice.at("delta").as_object();
      add(thoughts, delta, "reasoning_content");
      add(text, delta, "content");
      if (!delta.contains("tool_calls")) {
        continue;
      }
      for (const json::value& call : delta.at("tool_calls").as_array()) {
        const auto at = static_cast<std::size_t>(call.at("index").as_int64());
        calls.resize(std::max(calls.size(), at + 1));
        add(calls[at], call.at("function").as_object(), "name");
        add(calls[at], call.at("function").as_object(), "arguments");
      }
    }
  }

  void message(const json::object& event) {
    const std::string_view type = event.at("type").as_string();
    if (type == "content_block_start" && event.at("content_block").at("type") == "tool_use") {
      calls.emplace_back(event.at("content_block").at("name").as_string());
    } else if (type == "content_block_delta") {
      const json::object& delta = event.at("delta").as_object();
      add(thoughts, delta, "thinking");
      add(text, delta, "text");
      if (delta.contains("partial_json")) {
        add(calls.back(), delta, "partial_json");
      }
    }
  }

  void response(const json::object& event) {
    const std::string_view type = event.at("type").as_string();
    if (type == "response.reasoning_text.delta") {
      add(thoughts, event, "delta");
    } else if (type == "response.output_text.delta") {
      add(text, event, "delta");
    } else if (type == "response.function_call_arguments.done") {
      calls.push_back(std::string(event.at("name").as_string()) +
                      std::string(event.at("arguments").as_string()));
    }
  }

  std::string thoughts;
  std::string text;
  std::vector<std::string> calls;

 private:
  static void add(std::string& to, const json::object& from, std::string_view key) {
    const json::value* value = from.if_contains(key);
    if (value != nullptr && value->is_string()) {
      to += std::string_view(value->get_string());
    }
  }
};

Told read_back(std::string_view bytes, InferenceRoute route) {
  net::SseReader sse;
  Told told;
  const auto events = sse.push(bytes);
  for (const net::SseEvent& event : *events) {
    if (event.data == "[DONE]") {
      continue;
    }
    const json::object object = parse_json(event.data)->as_object();
    if (route == InferenceRoute::kChat) {
      told.chat(object);
    } else if (route == InferenceRoute::kMessages) {
      told.message(object);
    } else {
      told.response(object);
    }
  }
  return told;
}

void expect_the_same_for_any_split(std::string_view bytes, const MakeReader& make_reader) {
  constexpr unsigned kSeed = 1789;
  std::mt19937 random(kSeed);
  for (const Client& client : {kChat, kMessages, kResponses}) {
    SCOPED_TRACE(client.ask);
    const std::string whole = through(bytes, client, make_reader, [&] { return bytes.size(); });
    for (int round = 0; round < 100; ++round) {
      const std::size_t longest = 1 + random() % 40;
      ASSERT_EQ(through(bytes, client, make_reader, [&] { return 1 + random() % longest; }), whole)
          << "seed " << kSeed << ", round " << round;
    }
    const Told told = read_back(whole, client.route);
    EXPECT_EQ(told.thoughts, "hm \xF0\x9F\x9A\x80");
    EXPECT_EQ(told.text, "na\xC3\xAFve \xE6\x97\xA5 \xE6\x97\xA5\n\"q\"");
    EXPECT_EQ(told.calls, (std::vector<std::string>{R"(f{"a":[1,{}]})", "g{}"}));
  }
}

TEST(DialectSplit, OfAnOpenAiUpstream) {
  expect_the_same_for_any_split(openai_stream(), openai_reader);
}

TEST(DialectSplit, OfAnAnthropicUpstream) {
  expect_the_same_for_any_split(anthropic_stream(), anthropic_reader);
}

}  // namespace
}  // namespace genesis::server
