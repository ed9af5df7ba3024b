// Forms, tools and reasoning through LocalChat: a model that would say a given text, under what the
// request allows.
#include "base/json.h"
#include "engine/byte_tokenizer.h"
#include "engine/local_chat.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <chrono>

namespace genesis::engine {
namespace {

constexpr std::string_view kHermes =
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
constexpr std::string_view kThinking =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}{# </think> #}{{ '' }}"
    "{% if false %}</think>{% endif %}";

// Would say `text` behind a prompt of `prompt` tokens, then the end token.
class Speaker final : public Runner {
 public:
  Speaker(std::vector<std::int32_t> says, std::int32_t prompt, std::int32_t vocab)
      : says_(std::move(says)), prompt_(prompt) {
    info_.vocab_size = vocab;
    info_.max_context = 4000;
    info_.page_tokens = 8;
    info_.num_pages = 1000;
  }

  const RunnerInfo& info() const override { return info_; }

  Result<void> run(std::span<const SequenceStep> batch, std::span<float> logits) override {
    std::ranges::fill(logits, 0.0F);
    for (const SequenceStep& step : batch) {
      const auto size = static_cast<std::int32_t>(step.tokens.size());
      for (std::int32_t i = size - step.logit_rows; i < size; ++i) {
        const auto at = static_cast<std::size_t>(std::max(step.start + i + 1 - prompt_, 0));
        const std::int32_t next = at < says_.size() ? says_[at] : 256;
        logits[static_cast<std::size_t>(next)] = 30.0F;
        logits = logits.subspan(static_cast<std::size_t>(info_.vocab_size));
      }
    }
    return {};
  }

 private:
  std::vector<std::int32_t> says_;
  std::int32_t prompt_;
  RunnerInfo info_;
};

struct Said {
  std::string text;
  std::string reasoning;
  std::vector<std::string> calls;  // name and arguments
  std::vector<std::string> ids;
  FinishReason finish = FinishReason::kStop;
  Usage usage;
  std::optional<Error> error;
};

class Listener final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy&) override { co_return Result<void>{}; }

  Task<Result<void>> write(const ChatDelta& delta) override {
    said.text += delta.text;
    said.reasoning += delta.reasoning;
    if (!delta.tool_calls_json.empty()) {
      const boost::json::value calls = parse_json(delta.tool_calls_json).value();
      for (const auto& call : calls.as_array()) {
        const boost::json::object& function = call.at("function").as_object();
        if (const auto* id = call.as_object().if_contains("id")) {
          said.ids.emplace_back(id->as_string());
          said.calls.push_back(std::string(function.at("name").as_string()) + " ");
        }
        said.calls.at(static_cast<std::size_t>(call.at("index").as_int64())) +=
            std::string(function.at("arguments").as_string());
      }
    }
    said.finish = delta.finish.value_or(said.finish);
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return source.token(); }

  Said said;
  CancelSource source;
};

class AnswerForms : public testing::Test {
 protected:
  Said say(std::string_view would_say,
           std::string_view chat_template,
           const std::function<void(ChatInput&)>& change,
           const Sampling& sampling = {.temperature = 0.0}) {
    TextAssets assets;
    assets.tokenizer = tokenizer;
    assets.chat_template = std::make_shared<const text::ChatTemplate>(
        text::ChatTemplate::parse(chat_template).value());
    ChatRequest request;
    request.sampling = sampling;
    auto input = std::make_shared<ChatInput>();
    input->messages = {{.role = "user", .content = "Hi"}};
    change(*input);
    request.input = std::move(input);
    const auto plan = plan_answer(request, assets, voice_of(assets));
    if (!plan) {
      return {.error = plan.error()};
    }
    prompt = tokenizer->decode(plan->prompt.tokens, false);
    Engine engine(std::make_unique<Speaker>(tokenizer->encode(would_say, {}),
                                            static_cast<std::int32_t>(plan->prompt.tokens.size()),
                                            tokenizer->vocab_size()),
                  {},
                  metrics);
    boost::asio::io_context io;
    LocalChat chat(io.get_executor(), engine, assets, {.endpoint = "local", .model = ""});
    Listener sink;
    boost::asio::co_spawn(
        io, chat.chat(request, sink), [&](std::exception_ptr error, Result<Usage> result) {
          EXPECT_FALSE(error);
          if (result) {
            sink.said.usage = *result;
          } else {
            sink.said.error = result.error();
          }
        });
    io.run_for(std::chrono::seconds(30));
    return sink.said;
  }

  std::shared_ptr<const text::Tokenizer> tokenizer =
      std::make_shared<ByteTokenizer>(std::vector<std::string>{"<end>", "[TOOL_CALLS]"});
  MetricsRegistry metrics;
  std::string prompt;
};

constexpr std::string_view kTools =
    R"([{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":)"
    R"({"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}}},)"
    R"({"type":"function","function":{"name":"stop"}}])";

void with_tools(ChatInput& input) {
  input.tools_json = kTools;
}

TEST_F(AnswerForms, ThoughtsAreTakenApart) {
  const Said said = say("It is\nfour.</think>\n\nFour", kThinking, [](ChatInput&) {});
  ASSERT_FALSE(said.error) << said.error->message;
  EXPECT_EQ(said.reasoning, "It is\nfour.");
  EXPECT_EQ(said.text, "Four");
  EXPECT_EQ(said.finish, FinishReason::kStop);
  // The thought and its marker, a byte a token.
  EXPECT_EQ(said.usage.reasoning, 19);
}

TEST_F(AnswerForms, AFormBeginsBehindTheThought) {
  const Said said = say(R"(Hm</think>{"a":1})", kThinking, [](ChatInput& input) {
    input.format = {.kind = AnswerFormat::Kind::kRegex, .source = "[0-9]{3}", .field = "f"};
  });
  ASSERT_FALSE(said.error) << said.error->message;
  EXPECT_EQ(said.reasoning, "Hm");
  ASSERT_EQ(said.text.size(), 3U);
  EXPECT_EQ(said.text.find_first_not_of("0123456789"), std::string::npos);
}

TEST_F(AnswerForms, AutoTakesACallApart) {
  const Said said =
      say("Let me see.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7}}\n"
          "</tool_call>\n<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n"
          "</tool_call>",
          kHermes,
          with_tools);
  ASSERT_FALSE(said.error) << said.error->message;
  EXPECT_EQ(said.text, "Let me see.");
  EXPECT_EQ(said.calls, (std::vector<std::string>{"add {\"a\": 7}", "stop {}"}));
  EXPECT_EQ(said.finish, FinishReason::kToolCalls);
  ASSERT_EQ(said.ids.size(), 2U);
  EXPECT_NE(said.ids[0], said.ids[1]);
  EXPECT_TRUE(prompt.starts_with("<tools>")) << prompt;
}

TEST_F(AnswerForms, ACallInAnotherFormIsToldWhenItIsWhole) {
  const std::string_view whole = R"({"name": "add", "arguments": {"a": "x"}})";
  EXPECT_EQ(say(whole, kHermes, with_tools).calls, std::vector<std::string>{R"(add {"a": "x"})"});
  Sampling sampling{.temperature = 0.0, .max_tokens = 38};
  const Said cut = say(whole, kHermes, with_tools, sampling);
  EXPECT_TRUE(cut.calls.empty());
  EXPECT_EQ(cut.text, whole.substr(0, 38));
  EXPECT_EQ(cut.finish, FinishReason::kLength);
}

TEST_F(AnswerForms, AutoMayAnswer) {
  const Said said = say("Hello, <b>you</b>.", kHermes, with_tools);
  EXPECT_EQ(said.text, "Hello, <b>you</b>.");
  EXPECT_TRUE(said.calls.empty());
  EXPECT_EQ(said.finish, FinishReason::kStop);
}

TEST_F(AnswerForms, RequiredForcesACallWhateverTheModelSays) {
  const Said said = say("No, I do not want to call anything.", kHermes, [](ChatInput& input) {
    with_tools(input);
    input.tool_choice = {.mode = ToolChoice::Mode::kRequired, .name = {}, .parallel = false};
  });
  ASSERT_FALSE(said.error) << said.error->message;
  ASSERT_EQ(said.calls.size(), 1U);
  EXPECT_TRUE(said.text.empty()) << said.text;
  EXPECT_EQ(said.finish, FinishReason::kToolCalls);
}

TEST_F(AnswerForms, NoneShowsNoToolsAndCallsNone) {
  const Said said =
      say("<tool_call>{\"name\": \"add\"}</tool_call>", kHermes, [](ChatInput& input) {
        with_tools(input);
        input.tool_choice.mode = ToolChoice::Mode::kNone;
      });
  EXPECT_TRUE(said.calls.empty());
  EXPECT_EQ(said.text, "<tool_call>{\"name\": \"add\"}</tool_call>");
  EXPECT_EQ(prompt, "<|user|>Hi<|assistant|>");
}

TEST_F(AnswerForms, ATemplateWithoutToolsIsToldInWords) {
  const Said said =
      say("Hello", "{% for m in messages %}{{ m.role + ':' + m.content }}{% endfor %}", with_tools);
  ASSERT_FALSE(said.error) << said.error->message;
  EXPECT_TRUE(prompt.contains("add")) << prompt;
  EXPECT_EQ(said.text, "Hello");
}

TEST_F(AnswerForms, StopStringsStandInTheTextAlone) {
  Sampling sampling{.temperature = 0.0, .stop = {"a"}};
  const Said said = say("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7}}\n</tool_call>",
                        kHermes,
                        with_tools,
                        sampling);
  EXPECT_EQ(said.calls, std::vector<std::string>{"add {\"a\": 7}"});
  EXPECT_EQ(said.finish, FinishReason::kToolCalls);
  EXPECT_EQ(say("Hello, an end", kHermes, with_tools, sampling).text, "Hello, ");
}

TEST_F(AnswerForms, AnAnswerIsLedToItsEnd) {
  Sampling sampling{.temperature = 0.0, .max_tokens = 12};
  const Said said = say(
      R"({"a": "a very long text that does not end)",
      kHermes,
      [](ChatInput& input) {
        input.format = {.kind = AnswerFormat::Kind::kJsonObject, .source = {}, .field = "f"};
      },
      sampling);
  ASSERT_FALSE(said.error) << said.error->message;
  EXPECT_TRUE(parse_json(said.text)) << said.text;
  EXPECT_EQ(said.finish, FinishReason::kStop);
  EXPECT_LE(said.usage.output, 12);
}

TEST_F(AnswerForms, WrongOnesAreTheClients) {
  struct Case {
    std::function<void(ChatInput&)> change;
    std::string param;
    ErrorCode code = ErrorCode::kInvalidArgument;
  };

  const auto format = [](AnswerFormat::Kind kind, std::string source) {
    return [=](ChatInput& input) {
      input.format = {.kind = kind, .source = source, .field = "response_format"};
    };
  };
  const std::vector<Case> cases{
      {format(AnswerFormat::Kind::kRegex, "(a"), "response_format"},
      {format(AnswerFormat::Kind::kGbnf, "root ::= x"), "response_format"},
      {format(AnswerFormat::Kind::kJsonSchema, R"({"type":"array","uniqueItems":true})"),
       "response_format",
       ErrorCode::kUnsupported},
      {[](ChatInput& input) { input.tool_choice.mode = ToolChoice::Mode::kRequired; },
       "tool_choice"},
      {[](ChatInput& input) {
         with_tools(input);
         input.tool_choice = {.mode = ToolChoice::Mode::kNamed, .name = "sub"};
       },
       "tool_choice.function.name"},
      {[](ChatInput& input) { input.tools_json = R"([{"type":"web_search"}])"; }, "tools[0].type"},
      {[](ChatInput& input) { input.demands = {"functions"}; },
       "functions",
       ErrorCode::kUnsupported},
      {[](ChatInput& input) {
         input.messages.push_back({.role = "tool", .content = "3", .tool_call_id = "x"});
       },
       "messages[1].tool_call_id"}};
  for (const Case& c : cases) {
    const Said said = say("x", kHermes, c.change);
    ASSERT_TRUE(said.error) << c.param;
    EXPECT_EQ(said.error->param, c.param) << said.error->message;
    EXPECT_EQ(said.error->code, c.code) << c.param << ": " << said.error->message;
  }
}

}  // namespace
}  // namespace genesis::engine
