// Answers of each format as models write them, cut in every way; what is no call; hostile text.
#include "text/answer/answer_parser.h"

#include "base/json.h"

#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

namespace genesis::text {
namespace {

using Kind = AnswerEvent::Kind;

AnswerOptions options(ToolFormat tools, ReasoningFormat reasoning = ReasoningFormat::kNone) {
  return {.tools = tools,
          .reasoning = reasoning,
          .tool_names = {"get_weather", "add", "no_args", "namespace.search"}};
}

// Events as one line: text as it is, (reasoning), [name arguments], a cut call [name arguments!].
std::string line(const std::vector<AnswerEvent>& events) {
  std::string out;
  bool thinking = false;
  int calls = 0;
  for (const AnswerEvent& event : events) {
    if (thinking != (event.kind == Kind::kReasoning)) {
      thinking = !thinking;
      out += thinking ? "(" : ")";
    }
    switch (event.kind) {
      case Kind::kText:
      case Kind::kReasoning:
        out += event.text;
        EXPECT_FALSE(event.text.empty());
        break;
      case Kind::kCallBegin:
        EXPECT_EQ(event.call, calls++);
        out += "[" + event.text + " ";
        break;
      case Kind::kArguments:
        EXPECT_EQ(event.call, calls - 1);
        out += event.text;
        break;
      case Kind::kCallEnd:
        EXPECT_EQ(event.call, calls - 1);
        out += event.cut ? "!]" : "]";
        break;
    }
  }
  return out + (thinking ? ")" : "");
}

std::string parse_pieces(const AnswerOptions& options,
                         const std::vector<std::string_view>& pieces) {
  AnswerParser parser(options);
  std::vector<AnswerEvent> all;
  const auto add = [&all](std::vector<AnswerEvent> events) {
    all.insert(all.end(), events.begin(), events.end());
  };
  for (const std::string_view piece : pieces) {
    add(parser.push(piece));
  }
  add(parser.finish());
  return line(all);
}

// The events of `text`, after checking that they are the same however it is cut.
std::string parse(const AnswerOptions& options, std::string_view text) {
  std::string whole = parse_pieces(options, {text});
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_EQ(parse_pieces(options, {text.substr(0, i), text.substr(i)}), whole) << "cut at " << i;
    bytes.push_back(text.substr(i, 1));
  }
  EXPECT_EQ(parse_pieces(options, bytes), whole) << "byte by byte";
  return whole;
}

std::string parse(ToolFormat format, std::string_view text) {
  const AnswerOptions whole = options(format);
  AnswerOptions live = whole;
  live.flow = CallFlow::kLive;
  std::string line = parse(whole, text);
  if (!line.contains('!')) {
    EXPECT_EQ(parse(live, text), line) << "live";
  }
  return line;
}

std::string think(std::string_view text, bool starts = false) {
  AnswerOptions thinking = options(ToolFormat::kHermes, ReasoningFormat::kThink);
  thinking.starts_in_reasoning = starts;
  return parse(thinking, text);
}

TEST(AnswerParser, HermesAsQwenWritesIt) {
  EXPECT_EQ(
      parse(ToolFormat::kHermes,
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\"}}\n"
            "</tool_call>"),
      R"([get_weather {"city": "Zürich"}])");
  EXPECT_EQ(
      parse(ToolFormat::kHermes,
            "I look it up.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n"
            "</tool_call>\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": [1, {}]}}\n"
            "</tool_call>\nDone. \n"),
      "I look it up.[get_weather {}][add {\"a\": [1, {}]}]Done. \n");
}

TEST(AnswerParser, HermesAsOthersWriteIt) {
  // SmolLM2: a list. Some: several objects in one pair of tags, no closing tag, a stray brace.
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  R"(<tool_call>[{"name": "add", "arguments": {"a": 1}}, )"
                  R"({"name": "add", "arguments": {"a": 2}}]</tool_call>)"),
            R"([add {"a": 1}][add {"a": 2}])");
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n"
                  "{\"name\": \"add\", \"arguments\": {\"a\": 2}}\n</tool_call>"),
            R"([add {"a": 1}][add {"a": 2}])");
  EXPECT_EQ(parse(ToolFormat::kHermes, R"(<tool_call>{"name": "add", "arguments": {"a": 1}})"),
            R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}}}\n</tool_call>"),
            R"([add {"a": 1}])");
  EXPECT_EQ(
      parse(ToolFormat::kHermes, "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}}} so}"),
      R"([add {"a": 1}]} so})");
  EXPECT_EQ(parse(ToolFormat::kHermes, R"({"name": "add", "arguments": {"a": 1}})"),
            R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  "So:\n```json\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n```\nWait."),
            R"(So:[add {"a": 1}]Wait.)");
}

TEST(AnswerParser, ArgumentsInEveryShape) {
  const auto call = [](std::string_view object) {
    return parse(ToolFormat::kHermes, "<tool_call>" + std::string(object) + "</tool_call>");
  };
  EXPECT_EQ(call(R"({"arguments": {"a": 1}, "name": "add"})"), R"([add {"a": 1}])");
  EXPECT_EQ(call(R"({"name": "add", "arguments": "{\"a\": \"\\u00e9\\n\"}"})"),
            R"([add {"a": "\u00e9\n"}])");
  EXPECT_EQ(call(R"({"name": "add", "arguments": " {} "})"), "[add {}]");
  EXPECT_EQ(call(R"({"name": "add", "arguments": ""})"), "[add {}]");
  EXPECT_EQ(call(R"({"name": "no_args"})"), "[no_args {}]");
  EXPECT_EQ(call(R"({"name": "no_args", "arguments": null})"), "[no_args {}]");
  EXPECT_EQ(call(R"({"name": "add", "parameters": {"name": "x", "arguments": {"name": 1}}})"),
            R"([add {"name": "x", "arguments": {"name": 1}}])");
  EXPECT_EQ(call(R"({"n\u0061me": "\u0061dd", "arg\u0075ments": {"\"}": "</tool_call>"}})"),
            R"([add {"\"}": "</tool_call>"}])");
  EXPECT_EQ(
      call(R"({"thought": {"name": "x"}, "id": 7, "name": "add", "arguments": {}, "x": [1]})"),
      "[add {}]");
  EXPECT_EQ(call(R"({"name": "namespace.search", "arguments": {"q": -1.5e+3, "r": [true, null]}})"),
            R"([namespace.search {"q": -1.5e+3, "r": [true, null]}])");
}

TEST(AnswerParser, WhatIsNoCallIsText) {
  for (const std::string_view text : {
           R"(<tool_call>{"name": "unknown", "arguments": {}}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": [1]}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": 3}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": "3"}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": "{\"a\""}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": "{} {}"}</tool_call>)",
           R"(<tool_call>{"name": ["add"], "arguments": {}}</tool_call>)",
           R"(<tool_call>{"arguments": {"a": 1}}</tool_call>)",
           R"(<tool_call>{"name": "add", "name": "add", "arguments": {}}</tool_call>)",
           R"(<tool_call>{"arguments": {}, "parameters": {}, "name": "add"}</tool_call>)",
           R"(<tool_call>{"name": "add", "arguments": nope}</tool_call>)",
           "<tool_call>add(1, 2)</tool_call>",
           "<tool_call> ",
           "  <tool_call>\n\n",
           "<tool_call><tool_cal",
           "<tool_call>[]</tool_call>",
           "a < b <tool <tool_ <<tool_call",
           "  two \n\n lines \n",
           R"({"a": {"name": "add"}})",
           R"({"name": "add"})",
           R"([1, 2])",
           "```json\n{\"x\": 1}\n```\n",
           R"(Like {"name": "add", "arguments": {}} so)",
           "stray </tool_call> and </think>",
       }) {
    EXPECT_EQ(parse(options(ToolFormat::kHermes), text), text);
    EXPECT_EQ(parse(options(ToolFormat::kNone), text), text);
  }
}

TEST(AnswerParser, ABrokenCallIsTextAndTheNextOneIsRead) {
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  R"(<tool_call>{"name": <tool_call>{"name": "add", "arguments": {}}</tool_call>)"),
            R"(<tool_call>{"name":[add {}])");
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  R"(<tool_call>[{"name": "add", "arguments": {}}, {"name": "sub"}])"),
            R"([add {}], {"name": "sub"}])");
}

TEST(AnswerParser, AfterTheArgumentsNothingUnmakesACall) {
  EXPECT_EQ(parse(ToolFormat::kHermes, R"(<tool_call>{"name": "add", "arguments": {}, oops)"),
            "[add {}], oops");
  EXPECT_EQ(parse(ToolFormat::kHermes,
                  R"(<tool_call>{"name": "add", "arguments": {}, "name": "x"}</tool_call>)"),
            "[add {}]");
}

TEST(AnswerParser, ACutCall) {
  constexpr std::string_view kCut = R"(Hm <tool_call>{"name": "add", "arguments": {"a": "1)";
  EXPECT_EQ(parse(options(ToolFormat::kHermes), kCut), kCut);
  AnswerOptions live = options(ToolFormat::kHermes);
  live.flow = CallFlow::kLive;
  EXPECT_EQ(parse(live, kCut), R"(Hm[add {"a": "1!])");
  EXPECT_EQ(parse(live, R"(<tool_call>{"name": "add", "arg)"),
            R"(<tool_call>{"name": "add", "arg)");
}

TEST(AnswerParser, LiveArgumentsComeAsTheyAreWritten) {
  AnswerOptions live = options(ToolFormat::kHermes);
  live.flow = CallFlow::kLive;
  AnswerParser parser(live);
  EXPECT_EQ(line(parser.push("Well <tool")), "Well");
  EXPECT_EQ(line(parser.push("_call>\n{\"name\": \"add\"")), "");
  EXPECT_EQ(parser.push(", \"arguments\": {\"a"),
            (std::vector<AnswerEvent>{{.kind = Kind::kCallBegin, .call = 0, .text = "add"},
                                      {.kind = Kind::kArguments, .call = 0, .text = "{\"a"}}));
  EXPECT_EQ(parser.push("\": 1"),
            (std::vector<AnswerEvent>{{.kind = Kind::kArguments, .call = 0, .text = "\": 1"}}));
  EXPECT_EQ(parser.push("}}"),
            (std::vector<AnswerEvent>{{.kind = Kind::kArguments, .call = 0, .text = "}"},
                                      {.kind = Kind::kCallEnd, .call = 0, .text = {}}}));
  EXPECT_TRUE(parser.push("\n</tool_call>").empty());
  EXPECT_TRUE(parser.finish().empty());
}

TEST(AnswerParser, Reasoning) {
  EXPECT_EQ(think("<think>\nHm.\n\nSo.\n</think>\n\nYes.\n"), "(Hm.\n\nSo.)Yes.\n");
  EXPECT_EQ(think("\n<think>Hm</think>  two\n"), "(Hm)two\n");
  EXPECT_EQ(think("<think>\n\n</think>\n\n    int x;\n"), "    int x;\n");
  EXPECT_EQ(think("Hm.\n</think>\n\nYes", /*starts=*/true), "(Hm.)Yes");
  EXPECT_EQ(think("<think>\nHm.</think>Yes", /*starts=*/true), "(Hm.)Yes");
  EXPECT_EQ(think("never closed </thin", /*starts=*/true), "(never closed </thin)");
  EXPECT_EQ(think("<think>a <think> b</think>c <think>d</think>"),
            "(a <think> b)c <think>d</think>");
  EXPECT_EQ(think("The tag <think> opens."), "The tag <think> opens.");
  EXPECT_EQ(think("<thinking> no"), "<thinking> no");
  EXPECT_EQ(think("  plain"), "  plain");
}

TEST(AnswerParser, TellsWhetherItIsInReasoning) {
  AnswerParser parser({.reasoning = ReasoningFormat::kThink, .starts_in_reasoning = true});
  EXPECT_TRUE(parser.in_reasoning());
  parser.push("Hm</think");
  EXPECT_TRUE(parser.in_reasoning());
  parser.push(">");
  EXPECT_FALSE(parser.in_reasoning());
}

TEST(AnswerParser, CallsInsideReasoningStayReasoning) {
  EXPECT_EQ(think("<think>I could <tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>"
                  " now</think>\n\n<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}}"
                  "</tool_call>"),
            "(I could <tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call> now)"
            "[add {\"a\": 1}]");
  EXPECT_EQ(think("<think>a</think>\n\n<tool_call>oops"), "(a)<tool_call>oops");
  EXPECT_EQ(
      think("<tool_call>{\"name\": \"add\", \"arguments\": {\"t\": \"<think>\"}}</tool_call>"),
      "[add {\"t\": \"<think>\"}]");
}

TEST(AnswerParser, Llama3) {
  EXPECT_EQ(
      parse(ToolFormat::kLlama3, R"({"name": "get_weather", "parameters": {"city": "Paris"}})"),
      R"([get_weather {"city": "Paris"}])");
  EXPECT_EQ(parse(ToolFormat::kLlama3,
                  R"(<|python_tag|>{"type": "function", "name": "add", "parameters": {"a": 1}}; )"
                  R"({"name": "add", "parameters": {"a": 2}})"),
            R"([add {"a": 1}][add {"a": 2}])");
  EXPECT_EQ(
      parse(ToolFormat::kLlama3,
            "{\"name\": \"add\", \"parameters\": {}}\n{\"name\": \"add\", \"parameters\": {}}"),
      "[add {}][add {}]");
  EXPECT_EQ(parse(ToolFormat::kLlama3, R"({"name": "Bob", "age": 3})"),
            R"({"name": "Bob", "age": 3})");
  EXPECT_EQ(parse(ToolFormat::kLlama3, "<|python_tag|>print(1)"), "<|python_tag|>print(1)");
  EXPECT_EQ(parse(ToolFormat::kLlama3, R"({"name": "add", "parameters": {}}; then)"),
            "[add {}]; then");
}

TEST(AnswerParser, Mistral) {
  EXPECT_EQ(parse(ToolFormat::kMistral,
                  R"([TOOL_CALLS][{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}, )"
                  R"({"name": "add", "arguments": {}, "id": "jklmnopqr"}])"),
            R"([add {"a": 1}][add {}])");
  EXPECT_EQ(parse(ToolFormat::kMistral,
                  R"(Let me see.[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]no_args[ARGS]{})"),
            R"(Let me see.[add {"a": 1}][no_args {}])");
  EXPECT_EQ(parse(ToolFormat::kMistral, R"([TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]{"a": 1})"),
            R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kMistral, R"([TOOL_CALLS]add{"a": 1})"), R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kMistral, R"([TOOL_CALLS]sub[ARGS]{"a": 1})"),
            R"([TOOL_CALLS]sub[ARGS]{"a": 1})");
  EXPECT_EQ(parse(ToolFormat::kMistral, "[TOOL_CALLS][]"), "[TOOL_CALLS][]");
  const std::string long_header = "[TOOL_CALLS]" + std::string(600, 'x') + "{}";
  EXPECT_EQ(parse(ToolFormat::kMistral, long_header), long_header);
}

TEST(AnswerParser, DeepSeek) {
  EXPECT_EQ(parse(ToolFormat::kDeepSeek,
                  "Ok.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n"
                  "```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>\n"
                  "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
                  "```json\n{\"city\": \"東京\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            "Ok.[add {\"a\": 1}][get_weather {\"city\": \"東京\"}]");
  EXPECT_EQ(
      parse(ToolFormat::kDeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}"
            "<｜tool▁call▁end｜><｜tool▁call▁begin｜>no_args<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
            "<｜tool▁calls▁end｜>"),
      "[add {\"a\": 1}][no_args {}]");
  constexpr std::string_view kNoCall =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>rm\n```json\n{}\n```";
  EXPECT_EQ(parse(ToolFormat::kDeepSeek, kNoCall), kNoCall);
  EXPECT_EQ(parse(ToolFormat::kDeepSeek, "a <｜tool▁calls▁begin｜> b"),
            "a <｜tool▁calls▁begin｜> b");
}

TEST(AnswerParser, GemmaAndPhi) {
  EXPECT_EQ(parse(ToolFormat::kGemmaJson,
                  "```json\n{\"name\": \"add\", \"parameters\": {\"a\": 1}}\n```"),
            R"([add {"a": 1}])");
  EXPECT_EQ(
      parse(ToolFormat::kGemmaJson,
            "[{\"name\": \"add\", \"parameters\": {}}, {\"name\": \"add\", \"parameters\": {}}]"),
      "[add {}][add {}]");
  EXPECT_EQ(parse(ToolFormat::kPhi4,
                  R"(<|tool_call|>[{"name": "add", "arguments": {"a": 1}}]<|/tool_call|>)"),
            R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kPhi4, R"(functools[{"name": "add", "arguments": {"a": 1}}])"),
            R"([add {"a": 1}])");
  EXPECT_EQ(parse(ToolFormat::kPhi4, "import functools\nfrom x"), "import functools\nfrom x");
}

TEST(AnswerParser, SpecialTokens) {
  AnswerParser parser(options(ToolFormat::kLlama3));
  EXPECT_TRUE(parser.push_special("<|eom_id|>").empty());
  EXPECT_TRUE(parser.push_special("<|python_tag|>").empty());
  EXPECT_EQ(line(parser.push("print(1)")), "print(1)");
  AnswerParser mistral(options(ToolFormat::kMistral));
  EXPECT_TRUE(mistral.push_special("[TOOL_CALLS]").empty());
  EXPECT_TRUE(mistral.push("add").empty());
  EXPECT_TRUE(mistral.push_special("[ARGS]").empty());
  EXPECT_EQ(line(mistral.push("{}")), "[add {}]");
  EXPECT_TRUE(mistral.push_special("[TOOL_CALLS]").empty());
  EXPECT_EQ(mistral.push("[{\"name\": \"add\", \"arguments\": {}}]").size(), 3U);
  EXPECT_EQ(mistral.calls(), 2);
}

TEST(AnswerParser, Limits) {
  AnswerOptions small = options(ToolFormat::kHermes);
  small.most_held_bytes = 64;
  const std::string text =
      R"(<tool_call>{"name": "add", "arguments": {"a": ")" + std::string(100, 'x') + "\"}}";
  EXPECT_EQ(parse(small, text), text);
  small.flow = CallFlow::kLive;
  EXPECT_TRUE(parse(small, text).starts_with("[add {")) << "nothing is held of a told call";

  AnswerOptions one = options(ToolFormat::kHermes);
  one.most_calls = 1;
  const std::string call = R"(<tool_call>{"name": "add", "arguments": {}}</tool_call>)";
  EXPECT_EQ(parse(one, call + call), "[add {}]<tool_call>{\"name\": \"add\", \"arguments\": {}}");

  const std::string blanks(10'000, ' ');
  AnswerParser parser(options(ToolFormat::kHermes));
  EXPECT_GT(line(parser.push(blanks)).size(), 4096U) << "blanks without end are told";
}

TEST(AnswerParser, AMegabyteOfArgumentsAndOfHostileText) {
  std::string big = R"(<tool_call>{"name": "add", "arguments": {"a": ")";
  for (int i = 0; i < 1 << 18; ++i) {
    big += "x\\u00e9<";
  }
  big += "\"}}</tool_call>";
  for (const CallFlow flow : {CallFlow::kWhole, CallFlow::kLive}) {
    AnswerOptions way = options(ToolFormat::kHermes);
    way.flow = flow;
    AnswerParser parser(way);
    std::size_t bytes = 0;
    for (std::string_view rest = big; !rest.empty();
         rest.remove_prefix(std::min(rest.size(), 4UL))) {
      for (const AnswerEvent& event : parser.push(rest.substr(0, 4))) {
        bytes += event.kind == Kind::kArguments ? event.text.size() : 0;
      }
    }
    EXPECT_EQ(bytes,
              big.size() - std::string_view(R"(<tool_call>{"name": "add", "arguments": )").size() -
                  std::string_view("}</tool_call>").size());
  }
  for (const std::string_view unit :
       {"<", "<tool_call>", "<tool_call", "<tool_call>{", "{\"a\":", "["}) {
    std::string hostile;
    while (hostile.size() < 1 << 20) {
      hostile += unit;
    }
    EXPECT_EQ(parse_pieces(options(ToolFormat::kHermes), {hostile}), hostile);
  }
}

}  // namespace
}  // namespace genesis::text
