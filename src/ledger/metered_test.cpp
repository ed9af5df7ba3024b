// MeteredChat: every way a call can go ends in exactly one row that says so.
#include "ledger/metered.h"

#include "base/cancel.h"
#include "ledger/test_ledger.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace genesis::ledger {

namespace {

// What an upstream does once called.
using Script = std::function<Task<Result<Usage>>(ChatSink&)>;

class ScriptedModel final : public ChatModel {
 public:
  Task<Result<Usage>> chat(const ChatRequest& /*request*/, ChatSink& sink) override {
    ++calls;
    return script(sink);
  }

  Script script;
  int calls = 0;
};

class NullSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy& /*served*/) override { co_return Result<void>{}; }

  Task<Result<void>> write(const ChatDelta& /*delta*/) override { co_return Result<void>{}; }

  CancelToken cancel_token() const override { return source.token(); }

  CancelSource source;
};

// A ledger that writes down what it is told.
class RecordingLedger final : public Ledger {
 public:
  Task<Result<void>> reserve(const Reservation& r) override {
    reservations.push_back(r);
    co_return reserve_result;
  }

  Task<Result<Posted>> post(const AttemptId& /*id*/, const AttemptOutcome& outcome) override {
    posts.push_back(outcome);
    co_return post_result;
  }

  Task<Result<void>> void_attempt(const AttemptId& /*id*/, const std::string& reason) override {
    voids.push_back(reason);
    co_return Result<void>{};
  }

  Result<void> reserve_result;
  Result<Posted> post_result = Posted{.cost = 1};
  std::vector<Reservation> reservations;
  std::vector<AttemptOutcome> posts;
  std::vector<std::string> voids;
};

struct Bench {
  Result<Usage> chat() {
    MeteredChat metered(
        ledger,
        clock,
        metrics,
        model,
        {.endpoint = "e", .tier = tier, .price_model = "gpt-4o", .output_cap = 500});
    return run_task(metered.chat(request, sink));
  }

  Bench() {
    auto input = std::make_shared<ChatInput>();
    input->messages.push_back({.role = "user", .content = "twelve bytes"});
    request.id = "r";
    request.attempt = 1;
    request.input = input;
  }

  ManualClock clock{kNoon};
  MetricsRegistry metrics;
  RecordingLedger ledger;
  ScriptedModel model;
  NullSink sink;
  ChatRequest request;
  Tier tier = Tier::kCommercial;
};

constexpr std::int64_t kInputBound = 16 + 16 + 6;
constexpr std::int64_t kOutputBound = 500;

Script answer(Usage usage, int deltas) {
  return [usage, deltas](ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin({}));
    for (int i = 0; i < deltas; ++i) {
      const ChatDelta delta{.text = "ab"};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    }
    const ChatDelta last{.finish = FinishReason::kLength};
    GENESIS_CO_TRY_VOID(co_await sink.write(last));
    co_return usage;
  };
}

Script fails(ErrorCode code, bool begun, int deltas = 0) {
  return [code, begun, deltas](ChatSink& sink) -> Task<Result<Usage>> {
    if (begun) {
      GENESIS_CO_TRY_VOID(co_await sink.begin({}));
    }
    for (int i = 0; i < deltas; ++i) {
      const ChatDelta delta{.text = "ab"};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    }
    co_return fail(code, "scripted");
  };
}

TEST(Metered, BooksAFullAnswerAtTheUpstreamsCount) {
  Bench b;
  b.model.script = answer({.input = 30, .output = 7, .reasoning = 2}, 3);
  const auto usage = b.chat();
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->output, 7);
  ASSERT_EQ(b.ledger.reservations.size(), 1U);
  EXPECT_EQ(b.ledger.reservations[0].upper_bound.input, kInputBound);
  EXPECT_EQ(b.ledger.reservations[0].upper_bound.output, 500);
  ASSERT_EQ(b.ledger.posts.size(), 1U);
  EXPECT_TRUE(b.ledger.posts[0].delivered);
  EXPECT_EQ(b.ledger.posts[0].usage.input, 30);
  EXPECT_EQ(b.ledger.posts[0].finish, "length");
  EXPECT_TRUE(b.ledger.voids.empty());
}

TEST(Metered, TheBoundCountsEverythingThatIsSent) {
  ChatRequest request;
  auto input = std::make_shared<ChatInput>();
  input->prompt = "abcd\xC3\xA9";
  input->prompt_tokens = {1, 2, 3};
  input->tools_json = "[{}]";
  request.input = input;
  request.n = 3;
  request.sampling.max_tokens = 10;
  const Usage bound = upper_bound(request, 500);
  EXPECT_EQ(bound.input, 16 + (2 + 2) + 3 + 2);
  EXPECT_EQ(bound.output, 30);
}

TEST(Metered, VoidsWhatNeverBegan) {
  for (const ErrorCode code : {ErrorCode::kUnavailable,
                               ErrorCode::kTimeout,
                               ErrorCode::kRateLimited,
                               ErrorCode::kInvalidArgument,
                               ErrorCode::kContextLength}) {
    Bench b;
    b.model.script = fails(code, false);
    EXPECT_EQ(b.chat().error().code, code);
    EXPECT_TRUE(b.ledger.posts.empty());
    ASSERT_EQ(b.ledger.voids.size(), 1U);
    EXPECT_EQ(b.ledger.voids[0], error_code_name(code));
  }
}

TEST(Metered, AnUpstreamsErrorStatusIsNoWork) {
  for (const int status : {0, 200, 500}) {
    Bench b;
    b.model.script = [status](ChatSink&) -> Task<Result<Usage>> {
      Error error{.code = ErrorCode::kUpstream, .message = "scripted"};
      error.upstream_status = status;
      co_return std::unexpected(error);
    };
    EXPECT_FALSE(b.chat());
    EXPECT_EQ(b.ledger.voids.size(), status == 500 ? 1U : 0U) << status;
    EXPECT_EQ(b.ledger.posts.size(), status == 500 ? 0U : 1U) << status;
  }
}

TEST(Metered, BooksWhatMayHaveBeenBilled) {
  for (const auto& [code, begun] : {std::pair{ErrorCode::kCancelled, false},
                                    std::pair{ErrorCode::kUpstream, false},
                                    std::pair{ErrorCode::kInternal, false},
                                    std::pair{ErrorCode::kUnavailable, true},
                                    std::pair{ErrorCode::kTimeout, true}}) {
    Bench b;
    b.model.script = fails(code, begun);
    EXPECT_EQ(b.chat().error().code, code);
    EXPECT_TRUE(b.ledger.voids.empty());
    ASSERT_EQ(b.ledger.posts.size(), 1U);
    EXPECT_FALSE(b.ledger.posts[0].delivered);
    EXPECT_EQ(b.ledger.posts[0].usage.input, kInputBound);
    // Nothing of a body that is not streamed can be seen: all that it may have cost is booked.
    EXPECT_EQ(b.ledger.posts[0].usage.output, begun ? 0 : kOutputBound);
    EXPECT_EQ(b.ledger.posts[0].finish, std::string(error_code_name(code)) + ";estimated");
  }
}

TEST(Metered, ACutAfterThe200HeadIsBooked) {
  Bench b;
  b.model.script = [](ChatSink&) -> Task<Result<Usage>> {
    Error error{.code = ErrorCode::kUnavailable, .message = "scripted"};
    error.upstream_status = 200;
    co_return std::unexpected(error);
  };
  EXPECT_FALSE(b.chat());
  EXPECT_TRUE(b.ledger.voids.empty());
  EXPECT_EQ(b.ledger.posts.size(), 1U);
}

TEST(Metered, BooksTheDeliveredPartOfACutStream) {
  Bench b;
  b.model.script = fails(ErrorCode::kCancelled, true, 9);
  EXPECT_FALSE(b.chat());
  ASSERT_EQ(b.ledger.posts.size(), 1U);
  EXPECT_EQ(b.ledger.posts[0].usage.output, 9);
  EXPECT_EQ(b.ledger.posts[0].finish, "cancelled;estimated");
}

TEST(Metered, EstimatesUsageThatIsMissingOrImpossible) {
  for (const Usage& told : {Usage{},
                            Usage{.input = -4, .output = 2},
                            Usage{.input = 3, .cached_input = 9},
                            Usage{.input = INT64_MAX, .output = INT64_MAX}}) {
    Bench b;
    b.model.script = answer(told, 5);
    const auto usage = b.chat();
    ASSERT_TRUE(usage);
    EXPECT_EQ(usage->input, kInputBound);
    EXPECT_EQ(usage->output, 5);
    EXPECT_EQ(b.ledger.posts.at(0).finish, "length;estimated");
    EXPECT_TRUE(b.ledger.posts.at(0).delivered);
  }
}

TEST(Metered, WithoutALedgerNothingIsPaidFor) {
  for (const Tier tier : {Tier::kManaged, Tier::kCommercial}) {
    Bench b;
    b.tier = tier;
    b.ledger.reserve_result = fail(ErrorCode::kIo, "disk full");
    b.model.script = answer({.input = 1, .output = 1}, 1);
    EXPECT_EQ(b.chat().error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(b.model.calls, 0);
  }
  Bench own;
  own.tier = Tier::kSelfHosted;
  own.ledger.reserve_result = fail(ErrorCode::kIo, "disk full");
  own.model.script = answer({.input = 1, .output = 1}, 1);
  EXPECT_TRUE(own.chat());
  EXPECT_TRUE(own.ledger.posts.empty());
  EXPECT_NE(own.metrics.expose().find("genesis_ledger_unbooked_attempts_total 1"),
            std::string::npos);
}

TEST(Metered, CountsThatCannotBeAreDisputed) {
  struct Case {
    Usage told;
    Usage booked;
    bool disputed = false;
  };

  // Three deltas of two bytes each: from 0 to 6 tokens and 16 for what is not seen.
  for (const Case& each : {Case{{.input = 30, .output = 22}, {.input = 30, .output = 22}, false},
                           Case{{.input = 30, .output = 23}, {.input = 30, .output = 23}, true},
                           Case{{.input = 30, .output = 900, .reasoning = 890},
                                {.input = 30, .output = 900, .reasoning = 890},
                                false},
                           Case{{.input = 2 * kInputBound + 257, .output = 3},
                                {.input = 2 * kInputBound + 257, .output = 3},
                                true}}) {
    Bench b;
    b.model.script = answer(each.told, 3);
    ASSERT_TRUE(b.chat());
    ASSERT_EQ(b.ledger.posts.size(), 1U);
    const AttemptOutcome& posted = b.ledger.posts[0];
    EXPECT_EQ(posted.disputed.has_value(), each.disputed) << each.told.output;
    EXPECT_EQ(posted.usage.output, each.booked.output);
    EXPECT_EQ(posted.usage.input, each.booked.input);
  }
}

TEST(Metered, AnUndercountIsBookedAsOurOwn) {
  Bench b;
  b.model.script = [](ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin({}));
    const ChatDelta delta{.text = std::string(1600, 'a'), .finish = FinishReason::kStop};
    GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    co_return Usage{.input = 30, .output = 2};
  };
  ASSERT_TRUE(b.chat());
  const AttemptOutcome& posted = b.ledger.posts.at(0);
  ASSERT_TRUE(posted.disputed);
  EXPECT_EQ(posted.disputed->output, 2);
  EXPECT_EQ(posted.usage.output, 100);
  EXPECT_EQ(posted.finish, "stop;own_output=100..1616");
}

TEST(Metered, TheJsonAroundToolCallsIsNotCounted) {
  Bench b;
  b.model.script = [](ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin({}));
    for (int i = 0; i < 8; ++i) {
      const ChatDelta delta{.tool_calls_json =
                                R"([{"index":0,"id":"call_0123456789","type":"function",)"
                                R"("function":{"name":"f","arguments":"{}"}}])"};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    }
    const ChatDelta last{.finish = FinishReason::kToolCalls};
    GENESIS_CO_TRY_VOID(co_await sink.write(last));
    co_return Usage{.input = 30, .output = 9};
  };
  ASSERT_TRUE(b.chat());
  EXPECT_FALSE(b.ledger.posts.at(0).disputed);
}

TEST(Metered, ToldTokensAreCountedExactly) {
  for (const std::int64_t told : {98, 102, 103, 97}) {
    Bench b;
    b.model.script = [told](ChatSink& sink) -> Task<Result<Usage>> {
      GENESIS_CO_TRY_VOID(co_await sink.begin({}));
      for (int i = 0; i < 100; ++i) {
        ChatDelta delta{.text = "word"};
        delta.tokens.push_back({.id = i, .text = "word"});
        GENESIS_CO_TRY_VOID(co_await sink.write(delta));
      }
      co_return Usage{.input = 30, .output = told};
    };
    ASSERT_TRUE(b.chat());
    EXPECT_EQ(b.ledger.posts.at(0).disputed.has_value(), told == 103 || told == 97) << told;
  }
}

TEST(Metered, SilenceAfterSendingIsBookedAtItsUpperBound) {
  for (const Tier tier : {Tier::kCommercial, Tier::kManaged, Tier::kSelfHosted}) {
    Bench b;
    b.tier = tier;
    b.model.script = [](ChatSink&) -> Task<Result<Usage>> {
      Error error{.code = ErrorCode::kTimeout, .message = "no first token"};
      error.param = "first_token_ms";
      co_return std::unexpected(error);
    };
    EXPECT_FALSE(b.chat());
    const bool paid = tier != Tier::kSelfHosted;
    EXPECT_EQ(b.ledger.voids.size(), paid ? 0U : 1U);
    ASSERT_EQ(b.ledger.posts.size(), paid ? 1U : 0U);
    if (paid) {
      EXPECT_TRUE(b.ledger.posts[0].unconfirmed);
      EXPECT_EQ(b.ledger.posts[0].finish, "timeout");
    }
  }
}

TEST(Metered, AnExhaustedBudgetIsToldAsItIs) {
  Bench b;
  b.request.caller = {.team = "qa", .agent = "builder", .task = {}, .session = {}};
  b.ledger.reserve_result = fail_param("team:qa/day", "used up", ErrorCode::kBudgetExhausted);
  for (const Tier tier : {Tier::kCommercial, Tier::kSelfHosted}) {
    b.tier = tier;
    const auto refused = b.chat();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kBudgetExhausted);
    EXPECT_EQ(refused.error().param, "team:qa/day");
  }
  EXPECT_EQ(b.model.calls, 0);
  EXPECT_EQ(b.ledger.reservations.at(0).team, "qa");
  EXPECT_EQ(b.ledger.reservations.at(0).agent, "builder");
}

TEST(Metered, EmbeddingsAreBoundedByTheirTexts) {
  ChatRequest request;
  request.dialect = Dialect::kEmbeddings;
  auto input = std::make_shared<ChatInput>();
  input->embed = EmbedInput{.texts = {"abcdefgh", "ij"}};
  request.input = input;
  const Usage bound = upper_bound(request, 500);
  EXPECT_EQ(bound.input, 16 + 4 + 16 + 1);
  EXPECT_EQ(bound.output, 0);
}

TEST(Metered, DoesNotDispatchForACallerWhoIsGone) {
  Bench b;
  b.model.script = answer({.input = 1, .output = 1}, 1);
  b.sink.source.cancel();
  EXPECT_EQ(b.chat().error().code, ErrorCode::kCancelled);
  EXPECT_EQ(b.model.calls, 0);
  EXPECT_EQ(b.ledger.voids.size(), 1U);
}

TEST(Metered, NotesReachTheRow) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  ScriptedModel model;
  model.script = answer({}, 2);
  NullSink sink;
  ChatRequest request;
  request.id = "r";
  MeteredChat metered(*t.ledger,
                      t.clock,
                      t.metrics,
                      model,
                      {.endpoint = "openai", .tier = Tier::kCommercial, .price_model = "gpt-4o"});
  ASSERT_TRUE(run_task(metered.chat(request, sink)));
  ASSERT_TRUE(t.database->read([](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT finish, note, attempt FROM entries WHERE kind = 'post'"));
    GENESIS_TRY(const bool row, select.step());
    EXPECT_TRUE(row);
    EXPECT_EQ(select.text(0), "length");
    EXPECT_EQ(select.text(1), "estimated");
    EXPECT_EQ(select.integer(2), 1) << "an undispatched request counts as its first attempt";
    return {};
  }));
}

TEST(Metered, TheBillHoldsAllAttemptsOfARequest) {
  Bench b;
  b.request.bill = std::make_shared<Bill>();
  EXPECT_FALSE(b.request.bill->cost()) << "nothing was booked";
  b.ledger.post_result = Posted{.cost = 70, .baseline = {}};
  b.model.script = fails(ErrorCode::kUnavailable, true, 3);
  EXPECT_FALSE(b.chat());
  EXPECT_EQ(b.request.bill->cost(), 70);
  EXPECT_FALSE(b.request.bill->saved()) << "no answer, no baseline";
  b.request.attempt = 2;
  b.ledger.post_result = Posted{.cost = 30, .baseline = 400};
  b.model.script = answer({.input = 12, .output = 2}, 2);
  EXPECT_TRUE(b.chat());
  EXPECT_EQ(b.request.bill->cost(), 100);
  EXPECT_EQ(b.request.bill->saved(), 300);
  b.ledger.post_result = fail(ErrorCode::kNotFound, "no price");
  EXPECT_TRUE(b.chat());
  EXPECT_FALSE(b.request.bill->cost()) << "a part of it is not known";
}

}  // namespace

}  // namespace genesis::ledger
