// Pass-through: chunks reach a client of the same dialect byte for byte, the quick reading of plain
// chunks says what the tree says, and no split of the bytes makes a difference.
#include "net/sse.h"
#include "provider/openai_response.h"
#include "provider/openai_scan.h"
#include "provider/provider_fixture.h"

#include <gtest/gtest.h>

#include <random>

namespace genesis::provider {
namespace {

class OpenAiRaw : public ProviderTest {
 public:
  std::vector<std::string> raws() const {
    std::vector<std::string> out;
    for (const ChatDelta& delta : sink.deltas) {
      out.push_back(delta.raw);
    }
    return out;
  }
};

std::string frame(std::string_view json) {
  return "data: " + std::string(json) + "\n\n";
}

constexpr std::string_view kRole =
    R"({"id":"up-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"odd":[1,)"
    R"( 2]})";
constexpr std::string_view kText =
    R"({"id":"up-1","choices":[{"index":0,"delta":{"content":"a\u00e9"},"new_field":{"x":1}}]})";
constexpr std::string_view kTool =
    R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"x_new":true}]}}]})";
constexpr std::string_view kEnd =
    R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null})";

TEST_F(OpenAiRaw, ChunksGoThroughByteForByte) {
  stream(frame(kRole) + frame(kText) + frame(kTool) + frame(kEnd) + std::string(kUsageChunk) +
         std::string(kDoneFrame));
  ASSERT_EQ(error_name(chat(question(true))), "ok");
  EXPECT_EQ(raws(),
            (std::vector<std::string>{std::string(kRole),
                                      std::string(kText),
                                      std::string(kTool),
                                      std::string(kEnd),
                                      std::string(kUsageChunk.substr(6, kUsageChunk.size() - 8))}));
  EXPECT_EQ(sink.lines.at(0), "begin up");
  EXPECT_EQ(sink.lines.at(2), "0 a\xC3\xA9||");
  EXPECT_EQ(sink.lines.at(4), "0 || stop");
}

TEST_F(OpenAiRaw, AnEventWithoutContentDoesNotCommit) {
  stream(frame(kRole));
  EXPECT_EQ(error_name(chat(question(true))), "unavailable");
  EXPECT_TRUE(sink.lines.empty());
  // But no upstream can make us keep any number of them.
  std::string many;
  for (int i = 0; i < 40; ++i) {
    many += frame(kRole);
  }
  stream(many);
  EXPECT_EQ(error_name(chat(question(true))), "unavailable");
  EXPECT_EQ(sink.deltas.size(), 40U);
}

TEST_F(OpenAiRaw, LinesAreJoined) {
  stream(
      "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a\"},\r\ndata: "
      "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
  ASSERT_EQ(error_name(chat(question(true))), "ok");
  EXPECT_EQ(raws(),
            (std::vector<std::string>{
                R"({"choices":[{"index":0, "delta":{"content":"a"}, "finish_reason":"stop"}]})"}));
}

TEST_F(OpenAiRaw, WholeBodiesGoThroughByteForByte) {
  const std::string body =
      R"({"id":"up","choices":[{"index":0,"message":{"content":"x","n":1e9},)"
      R"("finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3},"f":null} )";
  reply(200, body);
  ASSERT_EQ(error_name(chat(question(false))), "ok");
  EXPECT_EQ(raws(), (std::vector<std::string>{body}));
  EXPECT_EQ(sink.text(), "x");
}

TEST_F(OpenAiRaw, TranslatesWhereTheFormsDiffer) {
  const std::string text = frame(kText) + frame(kEnd) + std::string(kDoneFrame);
  ChatRequest other = question(true);
  other.dialect = Dialect::kAnthropic;
  stream(text);
  ASSERT_EQ(error_name(chat(other)), "ok");
  EXPECT_EQ(seen.back().path, "/v1/chat/completions");
  ChatRequest two = question(true);
  two.n = 2;
  stream(frame(R"({"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"},)"
               R"({"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]})") +
         std::string(kDoneFrame));
  ASSERT_EQ(error_name(chat(two)), "ok");
  for (const std::string& raw : raws()) {
    EXPECT_EQ(raw, "");
  }
  EXPECT_EQ(sink.deltas.size(), 4U);
}

TEST_F(OpenAiRaw, AWholeAnswerMadeOfAStreamKeepsWhatIsUnknown) {
  const std::string plain = R"({"id":"up-1","choices":[{"index":0,"delta":{"content":"b"}}]})";
  stream(frame(plain) + frame(plain) + frame(kText) + frame(kEnd) + std::string(kDoneFrame));
  options.always_stream = true;
  ASSERT_EQ(error_name(chat(question(false))), "ok");
  EXPECT_EQ(raws(), (std::vector<std::string>{plain, "", std::string(kText), std::string(kEnd)}));
}

std::string random_value(std::mt19937& random, std::initializer_list<std::string_view> choices) {
  return std::string(choices.begin()[random() % choices.size()]);
}

// A chunk of which any part may be usual, unusual or wrong.
std::string random_chunk(std::mt19937& random) {
  const auto maybe = [&](std::string_view key, std::initializer_list<std::string_view> values) {
    if (random() % 3 != 0) {
      return std::string();
    }
    return "\"" + std::string(key) + "\":" + random_value(random, values) + ",";
  };
  std::string delta = maybe("role", {"\"assistant\"", "null", "7"}) +
                      maybe("content", {"\"a\"", "\"\\ud83d\\ude80\"", "null", "\"\"", "7"}) +
                      maybe("reasoning_content", {"null", "\"r\"", "\"\""}) +
                      maybe("reasoning", {"null", "\"q\""}) + maybe("refusal", {"null", "\"n\""}) +
                      maybe("tool_calls", {"null", "[]", R"([{"index":0}])"}) +
                      maybe("x", {"{\"y\":[1.5e3]}", "true"});
  std::string choice = maybe("index", {"0", "0", "1", "2", "-1", "0.0", "null"}) +
                       maybe("logprobs", {"null", "null", "{}", R"({"content":[]})"}) +
                       maybe("finish_reason", {"null", "null", "\"stop\"", "\"\""}) +
                       maybe("text", {"\"t\"", "null"}) + maybe("token_ids", {"null", "[5]"}) +
                       maybe("index", {"0"});
  choice += "\"delta\":{" + delta + "\"z\":0}";
  std::string top = maybe("object", {"\"chat.completion.chunk\"", "\"error\"", "null"}) +
                    maybe("usage", {"null", "null", "{\"prompt_tokens\":1}"}) +
                    maybe("error", {"null", "null", "\"e\""}) +
                    maybe("created", {"1700000000", "1e9"});
  return "{" + top + "\"choices\":[{" + choice + "}" + (random() % 9 == 0 ? ",{}]" : "]") + "}";
}

TEST(OpenAiScan, SaysWhatTheTreeSays) {
  const unsigned seed = 20261125;
  std::mt19937 random(seed);
  ChatRequest request;
  request.n = 2;
  int quick = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = random_chunk(random);
    const auto scanned = scan_openai_chunk(text, request.n);
    if (!scanned) {
      continue;
    }
    ++quick;
    OpenAiReader reader(request, "up");
    const auto read = reader.read(text);
    ASSERT_TRUE(read) << "seed " << seed << ": " << text;
    ASSERT_FALSE(read->error || read->usage) << "seed " << seed << ": " << text;
    ASSERT_EQ(read->deltas.size(), 1U);
    ASSERT_TRUE(read->deltas[0].tokens.empty());
    ASSERT_EQ(describe(read->deltas[0]), describe(scanned->delta))
        << "seed " << seed << ": " << text;
  }
  EXPECT_GT(quick, 300) << "the quick path is hardly taken";
}

TEST(OpenAiScan, TakesTheChunksOfRealServers) {
  for (
      const std::string_view text :
      {// OpenAI, vLLM, llama-server, SGLang, our own engine
       R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt",)"
       R"("service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,)"
       R"("delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null,)"
       R"("obfuscation":"x"})",
       R"({"id":"c","object":"chat.completion.chunk","created":1,"model":"m",)"
       R"("choices":[{"index":0,"delta":{"content":"Hi","reasoning_content":null},)"
       R"("logprobs":null,"finish_reason":null,"token_ids":null}],"prompt_token_ids":null})",
       R"({"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi"}}],"created":1,)"
       R"("id":"x","model":"m","system_fingerprint":"b","object":"chat.completion.chunk"})",
       R"({"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":0,)"
       R"("text":"Hi","logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null})"}) {
    const auto scanned = scan_openai_chunk(text, 1);
    ASSERT_TRUE(scanned) << text;
    EXPECT_EQ(scanned->delta.text, "Hi");
    EXPECT_TRUE(scanned->only_known);
  }
}

// One stream in every form that the standard allows, cut at random places.
TEST(OpenAiStream, AnySplitGivesTheSameDeltas) {
  const std::vector<std::string> chunks = {
      std::string(kRole),
      std::string(kText),
      "{\"choices\":[{\"index\":0,\n\"delta\":{\"content\":\"\xE6\x97\xA5\xE6\x9C\xAC\"}}]}",
      R"({"choices":[{"index":0,"delta":{"reasoning_content":"r\ud83d\ude80"}}]})",
      std::string(kTool),
      std::string(kEnd)};
  const unsigned seed = 977;
  std::mt19937 random(seed);
  ChatRequest request;
  request.stream = true;
  const SystemClock clock;
  const auto read = [&](std::string_view bytes, bool whole) {
    net::SseReader sse;
    OpenAiAnswerReader reader(request, {.endpoint = "up", .raw = true}, clock);
    std::vector<std::string> lines;
    while (!bytes.empty()) {
      const std::size_t piece =
          whole ? bytes.size() : std::min<std::size_t>(1 + random() % 9, bytes.size());
      auto events = sse.push(bytes.substr(0, piece));
      bytes.remove_prefix(piece);
      for (net::SseEvent& event : *events) {
        const auto part = reader.read_event(event);
        for (const ChatDelta& delta : part->deltas) {
          lines.push_back(describe(delta) + " " + delta.raw);
        }
        if (part->end) {
          lines.emplace_back("end");
        }
      }
    }
    return lines;
  };
  std::vector<std::string> expected;
  for (int round = 0; round < 200; ++round) {
    const std::string line_end = random_value(random, {"\n", "\r\n", "\r"});
    std::string text = random() % 2 == 0 ? "\xEF\xBB\xBF" : "";
    for (const std::string& chunk : chunks) {
      text += random() % 3 == 0 ? ": comment" + line_end : "";
      text += random() % 4 == 0 ? "event: message" + line_end : "";
      text += random() % 2 == 0 ? "data:" : "data: ";
      for (const char c : chunk) {
        text += c == '\n' ? line_end + "data:" : std::string(1, c);
      }
      text += line_end + line_end;
    }
    text += "data: [DONE]" + line_end + line_end;
    const auto whole = read(text, true);
    if (expected.empty()) {
      expected = whole;
      ASSERT_EQ(expected.size(), chunks.size() + 1);
    }
    ASSERT_EQ(whole, expected) << "seed " << seed << ", round " << round;
    ASSERT_EQ(read(text, false), expected) << "seed " << seed << ", round " << round;
  }
}

}  // namespace
}  // namespace genesis::provider
