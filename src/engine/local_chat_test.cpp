// LocalChat over a scripted model: text, stops, choices, usage, and every way an answer can be cut.
#include "engine/local_chat.h"

#include "engine/fake_runner.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

namespace genesis::engine {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int32_t kEnd = 1;
const std::vector<std::string> kPieces{"<s>",
                                       "</s>",
                                       "a",
                                       "b",
                                       "c",
                                       " the",
                                       " end",
                                       "\xC3",
                                       "\xA9",
                                       " ",
                                       "\xF0\x9F",
                                       "\x98",
                                       "\x80",
                                       "\n",
                                       "User",
                                       ":"};

// Ids are places in kPieces; encoding turns each character into one id.
class FakeTokenizer final : public text::Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text,
                                   const text::EncodeOptions& options) const override {
    last_text = text;
    last_options = options;
    last_spans.assign(options.plain_spans.begin(), options.plain_spans.end());
    std::vector<std::int32_t> ids;
    for (const char c : text) {
      ids.push_back(2 + static_cast<std::int32_t>(static_cast<unsigned char>(c) % 14U));
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      text += skip_special && is_special(id) ? "" : token_bytes(id);
    }
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    const auto at = static_cast<std::size_t>(id);
    return id >= 0 && at < kPieces.size() ? kPieces[at] : std::string();
  }

  bool is_special(std::int32_t id) const override { return id == 0 || id == kEnd; }

  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(kPieces.size()); }

  std::optional<std::int32_t> token_id(std::string_view) const override { return std::nullopt; }

  std::optional<std::int32_t> bos_id() const override { return 0; }

  std::span<const std::int32_t> end_ids() const override { return ends_; }

  mutable std::string last_text;
  mutable text::EncodeOptions last_options;
  mutable std::vector<text::PlainSpan> last_spans;

 private:
  std::vector<std::int32_t> ends_{kEnd};
};

// Says `script` after a prompt of `prompt` tokens, then the end token for ever.
class ScriptRunner final : public Runner {
 public:
  ScriptRunner(std::vector<std::int32_t> script,
               std::int32_t prompt,
               std::shared_ptr<FakeControl> control)
      : script_(std::move(script)), prompt_(prompt), control_(std::move(control)) {
    info_.vocab_size = static_cast<std::int32_t>(kPieces.size());
    info_.max_context = 400;
    info_.page_tokens = 8;
    info_.num_pages = 200;
  }

  const RunnerInfo& info() const override { return info_; }

  Result<void> run(std::span<const SequenceStep> batch, std::span<float> logits) override {
    control_->pass_gate();
    std::ranges::fill(logits, 0.0F);
    for (const SequenceStep& step : batch) {
      const auto size = static_cast<std::int32_t>(step.tokens.size());
      for (std::int32_t i = size - step.logit_rows; i < size; ++i) {
        const auto at = static_cast<std::size_t>(std::max(step.start + i + 1 - prompt_, 0));
        const std::int32_t next = at < script_.size() ? script_[at] : kEnd;
        logits[static_cast<std::size_t>(next)] = 30.0F;
        logits = logits.subspan(static_cast<std::size_t>(info_.vocab_size));
      }
    }
    return {};
  }

 private:
  std::vector<std::int32_t> script_;
  std::int32_t prompt_;
  std::shared_ptr<FakeControl> control_;
  RunnerInfo info_;
};

class KeepingSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy& by) override {
    ++begins;
    served = by;
    co_return begin_result;
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    deltas.push_back(delta);
    if (on_write) {
      on_write();
    }
    co_return write_result;
  }

  CancelToken cancel_token() const override { return source.token(); }

  std::string text(int index = 0) const {
    std::string all;
    for (const ChatDelta& delta : deltas) {
      all += delta.index == index ? delta.text : "";
    }
    return all;
  }

  std::vector<std::int32_t> ids(int index = 0) const {
    std::vector<std::int32_t> all;
    for (const ChatDelta& delta : deltas) {
      for (const TokenInfo& token : delta.tokens) {
        if (delta.index == index) {
          all.push_back(token.id);
        }
      }
    }
    return all;
  }

  int begins = 0;
  ServedBy served;
  std::vector<ChatDelta> deltas;
  Result<void> begin_result;
  Result<void> write_result;
  std::function<void()> on_write;
  CancelSource source;
};

ChatRequest completion(std::string prompt) {
  ChatRequest request;
  request.dialect = Dialect::kOpenAiCompletion;
  ChatInput input;
  input.prompt = std::move(prompt);
  request.input = std::make_shared<const ChatInput>(std::move(input));
  request.sampling.temperature = 0.0;
  return request;
}

class LocalChatTest : public testing::Test {
 protected:
  void make(std::vector<std::int32_t> script,
            std::int32_t prompt_size,
            EngineOptions options = {}) {
    engine = std::make_unique<Engine>(
        std::make_unique<ScriptRunner>(std::move(script), prompt_size, control), options, metrics);
    assets.tokenizer = tokenizer;
    assets.bos_token = "<s>";
    assets.eos_token = "</s>";
  }

  Result<Usage> run(const ChatRequest& request) {
    LocalChat chat(io.get_executor(), *engine, assets, {.endpoint = "local", .model = "fake"});
    Result<Usage> usage = fail(ErrorCode::kInternal, "never finished");
    boost::asio::co_spawn(
        io, chat.chat(request, sink), [&](std::exception_ptr error, Result<Usage> result) {
          EXPECT_FALSE(error);
          usage = std::move(result);
        });
    io.restart();
    io.run_for(std::chrono::seconds(30));
    return usage;
  }

  bool all_pages_free() const {
    for (int i = 0; i < 1'000 && engine->stats().free_pages != 200; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return engine->stats().free_pages == 200 && engine->stats().running == 0;
  }

  boost::asio::io_context io;
  std::shared_ptr<FakeControl> control = std::make_shared<FakeControl>();
  MetricsRegistry metrics;
  std::unique_ptr<Engine> engine;
  std::shared_ptr<FakeTokenizer> tokenizer = std::make_shared<FakeTokenizer>();
  TextAssets assets;
  KeepingSink sink;
};

TEST_F(LocalChatTest, ACompletionStreamsTextAndUsage) {
  make({2, 3, 5}, 4);
  const auto usage = run(completion("abcd"));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(sink.served.endpoint, "local");
  EXPECT_EQ(sink.text(), "ab the");
  EXPECT_THAT(sink.ids(), ElementsAre(2, 3, 5, kEnd));
  EXPECT_EQ(sink.deltas.back().finish, FinishReason::kStop);
  EXPECT_TRUE(sink.deltas.back().tokens[0].special);
  EXPECT_EQ(usage->input, 4);
  EXPECT_EQ(usage->output, 4);  // the end token counts
  EXPECT_TRUE(tokenizer->last_options.add_special_tokens);
  EXPECT_TRUE(tokenizer->last_options.parse_special);
}

TEST_F(LocalChatTest, MaxTokensCutsTheAnswer) {
  make({2, 3, 5, 2, 2}, 1);
  ChatRequest request = completion("x");
  request.sampling.max_tokens = 2;
  const auto usage = run(request);
  ASSERT_TRUE(usage);
  EXPECT_EQ(sink.text(), "ab");
  EXPECT_EQ(sink.deltas.back().finish, FinishReason::kLength);
  EXPECT_EQ(usage->output, 2);
}

TEST_F(LocalChatTest, AChatIsRenderedAndUsersCannotTypeSpecialTokens) {
  make({2}, 0);
  assets.chat_template = std::make_shared<const text::ChatTemplate>(*text::ChatTemplate::parse(
      "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"));
  ChatRequest request = completion("");
  request.dialect = Dialect::kOpenAiChat;
  ChatInput input;
  input.messages = {{.role = "user", .content = "hi </s> \"there\""}};
  request.input = std::make_shared<const ChatInput>(std::move(input));
  const auto usage = run(request);
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_FALSE(tokenizer->last_options.add_special_tokens);
  EXPECT_TRUE(tokenizer->last_options.parse_special);
  const auto at = tokenizer->last_text.find("hi </s> \"there\"");
  ASSERT_NE(at, std::string::npos) << tokenizer->last_text;
  const bool covered = std::ranges::any_of(
      tokenizer->last_spans,
      [at](const text::PlainSpan& span) { return span.begin <= at && span.end >= at + 15; });
  EXPECT_TRUE(covered);
}

TEST_F(LocalChatTest, WithoutATemplateChatIsRefusedWithAHint) {
  make({2}, 1);
  ChatRequest request = completion("");
  request.dialect = Dialect::kOpenAiChat;
  const auto usage = run(request);
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(usage.error().hint, HasSubstr("/v1/completions"));
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(LocalChatTest, WhatItCannotForceIsRefusedByName) {
  make({2}, 1);
  ChatRequest request = completion("x");
  auto input = std::make_shared<ChatInput>(*request.input);
  input->demands = {"response_format"};
  request.input = input;
  const auto usage = run(request);
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(usage.error().param, "response_format");
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(LocalChatTest, CharactersSplitOverTokensArriveWhole) {
  make({4, 2, 7, 8, 9, 10, 11, 12}, 1);
  ASSERT_TRUE(run(completion("x")));
  EXPECT_EQ(sink.text(), "ca\xC3\xA9 \xF0\x9F\x98\x80");
  for (const ChatDelta& delta : sink.deltas) {
    EXPECT_TRUE(delta.text.empty() || delta.text != "\xC3");
    EXPECT_TRUE(delta.text.empty() || (static_cast<unsigned char>(delta.text[0]) & 0xC0U) != 0x80U);
  }
}

TEST_F(LocalChatTest, AnUnfinishedCharacterBecomesAReplacement) {
  make({2, 10, 11}, 1);
  ASSERT_TRUE(run(completion("x")));
  EXPECT_EQ(sink.text(), "a\xEF\xBF\xBD");
}

TEST_F(LocalChatTest, AStopStringAcrossTokensEndsTheChoice) {
  make({2, 3, 13, 14, 15, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, 1);
  ChatRequest request = completion("x");
  request.sampling.stop = {"\nUser:", "zzz"};
  const auto usage = run(request);
  ASSERT_TRUE(usage);
  EXPECT_EQ(sink.text(), "ab");
  EXPECT_EQ(sink.deltas.back().finish, FinishReason::kStopSequence);
  EXPECT_EQ(usage->output, 5);
  EXPECT_TRUE(all_pages_free());
  EXPECT_THAT(sink.ids(), ElementsAre(2, 3, 13, 14, 15));
}

TEST_F(LocalChatTest, AStopStringMayBeKept) {
  make({2, 3, 13, 14, 15, 2, 2}, 1);
  ChatRequest request = completion("x");
  request.sampling.stop = {"\nUser:"};
  request.sampling.include_stop_in_output = true;
  ASSERT_TRUE(run(request));
  EXPECT_EQ(sink.text(), "ab\nUser:");
}

TEST_F(LocalChatTest, AHalfStopStringIsSentAtTheEnd) {
  make({2, 3, 13, 14}, 1);
  ChatRequest request = completion("x");
  request.sampling.stop = {"\nUser:"};
  ASSERT_TRUE(run(request));
  EXPECT_EQ(sink.text(), "ab\nUser");
  EXPECT_EQ(sink.deltas.back().finish, FinishReason::kStop);
}

TEST_F(LocalChatTest, ChoicesAreSequencesOfTheirOwn) {
  make({2, 3, 5}, 4);
  ChatRequest request = completion("abcd");
  request.n = 3;
  const auto usage = run(request);
  ASSERT_TRUE(usage);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sink.text(i), "ab the");
  }
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(usage->input, 4);
  EXPECT_EQ(usage->output, 12);
}

TEST_F(LocalChatTest, EchoAndPromptLogprobs) {
  make({2}, 3);
  ChatRequest request = completion("abc");
  request.echo = true;
  request.sampling.want_logprobs = true;
  request.sampling.top_logprobs = 2;
  request.sampling.want_prompt_logprobs = true;
  ASSERT_TRUE(run(request));
  EXPECT_EQ(sink.text(), "abca");
  ASSERT_EQ(sink.deltas[0].prompt_tokens.size(), 3U);
  EXPECT_FALSE(sink.deltas[0].prompt_tokens[1].text.empty());
  EXPECT_EQ(sink.deltas[0].tokens[0].text, "a");
  EXPECT_NEAR(sink.deltas[0].tokens[0].logprob, 0.0, 1e-3);
  ASSERT_EQ(sink.deltas[0].tokens[0].top.size(), 2U);
  EXPECT_EQ(sink.deltas[0].tokens[0].top[0].text, "a");
  for (std::size_t i = 1; i < sink.deltas.size(); ++i) {
    EXPECT_TRUE(sink.deltas[i].prompt_tokens.empty());
  }
}

TEST_F(LocalChatTest, APromptMayBeTokenIds) {
  make({2}, 2);
  ChatRequest request = completion("");
  ChatInput input;
  input.prompt_tokens = {4, 5};
  request.input = std::make_shared<const ChatInput>(std::move(input));
  request.echo = true;
  const auto usage = run(request);
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->input, 2);
  EXPECT_EQ(sink.text(), "c thea");
}

TEST_F(LocalChatTest, TgiTellsLogprobsUnasked) {
  make({2, 3}, 1);
  ChatRequest request = completion("x");
  request.dialect = Dialect::kTgi;
  ASSERT_TRUE(run(request));
  EXPECT_LT(sink.deltas[0].tokens[0].logprob, 0.0F);
}

TEST_F(LocalChatTest, ErrorsOfTheEngineNameTheClientsField) {
  make({2}, 1);
  ChatRequest request = completion(std::string(400, 'x'));
  request.dialect = Dialect::kTgi;
  auto usage = run(request);
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kContextLength);
  EXPECT_EQ(usage.error().param, "inputs");
  usage = run(completion(""));
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(LocalChatTest, WhenOneChoiceIsRefusedTheOthersAreGivenBack) {
  make(std::vector<std::int32_t>(300, 2), 1, {.max_batch = 1, .max_queue = 1});
  ChatRequest request = completion("x");
  request.n = 8;  // the engine holds two at a time
  const auto usage = run(request);
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kOverloaded);
  EXPECT_TRUE(usage.error().retry_after);
  EXPECT_TRUE(all_pages_free());
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(LocalChatTest, AClientThatLeavesFreesItsSlot) {
  make(std::vector<std::int32_t>(390, 2), 1);
  sink.on_write = [this] {
    if (sink.deltas.size() == 3) {
      sink.source.cancel();
    }
  };
  auto usage = run(completion("x"));
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(sink.deltas.size(), 3U);
  EXPECT_TRUE(all_pages_free());

  usage = run(completion("x"));  // gone before it began
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(sink.begins, 1);
}

TEST_F(LocalChatTest, AClientThatLeavesWhileTheModelWorksIsNoticedAtOnce) {
  make(std::vector<std::int32_t>(390, 2), 1);
  control->close_gate();
  boost::asio::post(io, [this] { boost::asio::post(io, [this] { sink.source.cancel(); }); });
  const auto usage = run(completion("x"));
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(sink.begins, 0);
  control->open_gate();
  EXPECT_TRUE(all_pages_free());
}

TEST_F(LocalChatTest, TheDeadlineEndsTheAnswer) {
  make(std::vector<std::int32_t>(390, 2), 1);
  control->close_gate();
  ChatRequest request = completion("x");
  request.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
  const auto usage = run(request);
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kTimeout);
  control->open_gate();
  EXPECT_TRUE(all_pages_free());
}

TEST_F(LocalChatTest, ASinkThatFailsEndsTheAnswer) {
  make(std::vector<std::int32_t>(390, 2), 1);
  sink.write_result = fail(ErrorCode::kIo, "broken pipe");
  auto usage = run(completion("x"));
  ASSERT_FALSE(usage);
  EXPECT_EQ(usage.error().code, ErrorCode::kIo);
  EXPECT_EQ(sink.deltas.size(), 1U);
  sink.begin_result = fail(ErrorCode::kIo, "no");
  usage = run(completion("x"));
  ASSERT_FALSE(usage);
  EXPECT_EQ(sink.deltas.size(), 1U);
  EXPECT_TRUE(all_pages_free());
}

// Runs an answer for a moment, then lets LocalChat, engine and context go while it is suspended.
TEST_F(LocalChatTest, ShutdownInTheMiddleTouchesNothingThatIsGone) {
  for (int i = 0; i < 20; ++i) {
    SCOPED_TRACE(i);
    make(std::vector<std::int32_t>(390, 2), 1);
    KeepingSink gone;
    const ChatRequest request = completion("x");
    auto context = std::make_unique<boost::asio::io_context>();
    auto chat = std::make_unique<LocalChat>(context->get_executor(), *engine, assets, ServedBy{});
    boost::asio::co_spawn(*context, chat->chat(request, gone), boost::asio::detached);
    control->close_gate(i);
    context->run_for(std::chrono::milliseconds(5));
    control->open_gate();
    chat.reset();
    if (i % 2 == 0) {
      engine.reset();
    }
    context.reset();
  }
}

}  // namespace

}  // namespace genesis::engine
