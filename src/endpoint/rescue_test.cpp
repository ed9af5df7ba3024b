// Unit tests of hedges, of the gateway-wide retry budget and of the rescue of cut streams.
#include "endpoint/endpoint_fixture.h"

namespace genesis::endpoint {
namespace {

const Error kCut = error_of(ErrorCode::kUnavailable, 200);

std::vector<AttemptKind> kinds(const RequestTrace& trace) {
  std::vector<AttemptKind> out;
  for (const AttemptRecord& attempt : trace.attempts) {
    out.push_back(attempt.kind);
  }
  return out;
}

TEST_F(EndpointTest, ACutStreamGoesOnWhereItBroke) {
  add("a", {{.texts = {"The ", "fleet"}, .after = kCut}});
  add("b", {{.texts = {"The fle", "et ans", "wered."}}});
  // An endpoint of our own is expected to repeat itself; this one is still out of order.
  scripts_[0]->add({.before = error_of(ErrorCode::kUnavailable, 503)});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_TRUE(result);
  EXPECT_EQ(sink.text, "The fleet answered.");
  EXPECT_EQ(sink.begins, 1);
  const RequestTrace& trace = observer_.traces.at(0);
  EXPECT_EQ(kinds(trace),
            (std::vector{AttemptKind::kFirst, AttemptKind::kRescue, AttemptKind::kRescue}));
  EXPECT_EQ(trace.served_by, "b");
}

TEST_F(EndpointTest, WhoCannotBeExpectedToRepeatItselfIsAskedLast) {
  tier_ = Tier::kCommercial;
  for (const bool greedy : {false, true}) {
    scripts_.clear();
    guards_.clear();
    greedy_ = greedy;
    add("a", {{.texts = {"one "}, .after = kCut}, {.texts = {"one two"}}});
    add("b", {{.texts = {"one two"}}});
    CollectingSink sink;
    ASSERT_TRUE(dispatch(sink));
    EXPECT_EQ(sink.text, "one two");
    EXPECT_EQ(scripts_[greedy ? 0 : 1]->attempts.size(), greedy ? 2U : 1U);
  }
}

TEST_F(EndpointTest, TheOneThatWasCutMayRepeatItself) {
  add("a", {{.texts = {"one "}, .after = kCut}, {.texts = {"one ", "two"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "one two");
}

TEST_F(EndpointTest, SomethingElseIsNeverGluedOn) {
  add("a", {{.texts = {"one "}, .after = kCut}, {.texts = {"on", "ce upon"}}});
  add("b", {{.texts = {"uno ", "due"}}});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().upstream_status, 200) << "the error that cut the answer";
  EXPECT_EQ(sink.text, "one ");
  EXPECT_EQ(observer_.traces.at(0).attempts.at(1).outcome, "differs");
  EXPECT_TRUE(guards_[1]->snapshot().usable) << "saying something else is no failure";
}

TEST_F(EndpointTest, AReplayThatEndsEarlierIsNoEnd) {
  add("a", {{.texts = {"one ", "two "}, .after = kCut}, {.texts = {"one "}}});
  CollectingSink sink;
  EXPECT_FALSE(dispatch(sink));
  EXPECT_EQ(sink.text, "one two ");
}

TEST_F(EndpointTest, ARescueThatIsCutItselfGivesItsPartToTheNext) {
  add("a", {{.texts = {"one "}, .after = kCut}, {.texts = {"one ", "two "}, .after = kCut}});
  add("b", {{.texts = {"one two three"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "one two three");
}

TEST_F(EndpointTest, ARefusalDuringTheRescueIsNotTheCallersError) {
  add("a", {{.texts = {"one "}, .after = kCut}});
  scripts_[0]->add({.before = error_of(ErrorCode::kInvalidArgument, 400)});
  add("b", {{.before = error_of(ErrorCode::kInvalidArgument, 400)}});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
}

TEST_F(EndpointTest, SilenceWithinAnAnswerIsRescuedElsewhereFirst) {
  add("a",
      {{.texts = {"one ", "two"}, .silence_between = milliseconds(60'000)}},
      {.between_tokens = milliseconds(20)});
  add("b", {{.texts = {"one two"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "one two");
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U);
}

TEST_F(EndpointTest, AnAnswerHeldBackFailsOverUnseen) {
  router_.hold = true;
  add("a", {{.texts = {"one "}, .after = kCut}});
  add("b", {{.texts = {"uno ", "due"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "uno due");
  EXPECT_EQ(sink.served.model, "b-model");
}

TEST_F(EndpointTest, AHedgeWinsAndTheLoserIsHungUpOn) {
  router_.hedge_after = milliseconds(10);
  add("a", {{.silence_before = milliseconds(60'000)}});
  add("b", {{.texts = {"fast"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "fast");
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(scripts_[0]->cancelled, 1);
  const RequestTrace& trace = observer_.traces.at(0);
  EXPECT_EQ(kinds(trace), (std::vector{AttemptKind::kFirst, AttemptKind::kHedge}));
  EXPECT_EQ(trace.attempts[0].outcome, "slower");
  EXPECT_EQ(trace.served_by, "b");
  EXPECT_TRUE(guards_[0]->snapshot().usable);
}

TEST_F(EndpointTest, AnAnswerInTimeIsNotHedged) {
  router_.hedge_after = milliseconds(5'000);
  add("a", {{.silence_before = milliseconds(5)}});
  add("b", {});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, AHedgeThatFailsLeavesTheFirstAlone) {
  router_.hedge_after = milliseconds(5);
  add("a", {{.texts = {"slow"}, .silence_before = milliseconds(60)}});
  add("b", {{.before = error_of(ErrorCode::kUnavailable, 503)}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "slow");
}

TEST_F(EndpointTest, WhenBothFailTheThirdIsAsked) {
  router_.hedge_after = milliseconds(5);
  add("a",
      {{.before = error_of(ErrorCode::kUnavailable, 503), .silence_before = milliseconds(40)}});
  add("b", {{.before = error_of(ErrorCode::kUnavailable, 503)}});
  add("c", {{.texts = {"third"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.text, "third");
  EXPECT_EQ(scripts_[0]->attempts.size() + scripts_[1]->attempts.size(), 2U);
}

TEST_F(EndpointTest, AClientThatLeavesEndsBothAttempts) {
  router_.hedge_after = milliseconds(5);
  add("a", {{.silence_before = milliseconds(60'000)}});
  add("b", {{.silence_before = milliseconds(60'000)}});
  CollectingSink sink;
  boost::asio::steady_timer leave(io_, milliseconds(40));
  leave.async_wait([&](const boost::system::error_code&) { sink.source.cancel(); });
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(scripts_[0]->cancelled + scripts_[1]->cancelled, 2);
}

TEST_F(EndpointTest, WithoutRetryBudgetThereAreNeitherRetriesNorHedges) {
  budget_ = {.percent = 0, .floor = 0};
  router_.hedge_after = milliseconds(5);
  add("a",
      {{.before = error_of(ErrorCode::kUnavailable, 500), .silence_before = milliseconds(20)}});
  add("b", {{.texts = {"next"}}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink)) << "moving on is never refused";
  EXPECT_EQ(sink.text, "next");
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U);
  EXPECT_EQ(kinds(observer_.traces.at(0)),
            (std::vector{AttemptKind::kFirst, AttemptKind::kFallback}));
}

TEST(RetryBudget, AllowsAFifthOfTheActiveRequestsAndAlwaysThree) {
  RetryBudget budget({});
  std::vector<RetryBudget::Permit> active;
  std::vector<RetryBudget::Permit> extra;
  const auto take_all = [&] {
    while (auto permit = budget.take()) {
      extra.push_back(std::move(*permit));
    }
  };
  take_all();
  EXPECT_EQ(budget.extra(), 3);
  for (int i = 0; i < 100; ++i) {
    active.push_back(budget.request());
  }
  take_all();
  EXPECT_EQ(budget.extra(), 20);
  extra.push_back(budget.count());
  EXPECT_EQ(budget.extra(), 21) << "counted, never refused";
  extra.clear();
  active.clear();
  EXPECT_EQ(budget.extra(), 0);
  take_all();
  EXPECT_EQ(budget.extra(), 3);
}

}  // namespace
}  // namespace genesis::endpoint
