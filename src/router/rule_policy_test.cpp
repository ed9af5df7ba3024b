// Unit tests of the rule policy: which endpoint is chosen, by weight, by load, and by what moving a
// warm conversation would cost.
#include "router/rule_policy.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace genesis::router {
namespace {

constexpr SteadyTime kNow{std::chrono::hours(5)};

EndpointSnapshot endpoint(const std::string& name, Tier tier = Tier::kManaged) {
  return {.name = name, .model = "m", .tier = tier, .why_not = {}};
}

class RulePolicyTest : public ::testing::Test {
 protected:
  // The endpoints in the order in which they would be asked.
  std::vector<std::string> order(const RouteFeatures& features) {
    std::vector<Candidate> candidates;
    int group = 0;
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      group += i > 0 && endpoints_[i].tier != endpoints_[i - 1].tier ? 1 : 0;
      candidates.push_back({.endpoint = &endpoints_[i],
                            .group = group,
                            .weight = rule_.weight_of(endpoints_[i].name),
                            .reason = {}});
    }
    policy_.order(rule_, features, candidates);
    reason_ = candidates.front().reason;
    std::vector<std::string> names;
    for (const Candidate& each : candidates) {
      names.push_back(each.endpoint->name);
    }
    return names;
  }

  std::string first(const RouteFeatures& features) { return order(features).front(); }

  RouteFeatures turn(const std::string& session, std::int64_t input = 1'000) {
    return {.route = "auto",
            .tenant = "t",
            .caller = {.session = session},
            .input_tokens = input,
            .output_tokens = 100,
            .now = kNow};
  }

  void served(const RouteFeatures& features, const std::string& by) {
    policy_.on_finished(rule_, {.features = features, .outcome = "delivered", .served_by = by});
  }

  std::vector<EndpointSnapshot> endpoints_ = {endpoint("a"), endpoint("b"), endpoint("c")};
  RouteRule rule_{.name = "auto", .endpoints = {"a", "b", "c"}, .aliases = {}};
  std::shared_ptr<StickyTable> pins_ = std::make_shared<StickyTable>();
  RulePolicy policy_{pins_};
  std::string reason_;
};

TEST_F(RulePolicyTest, KeepsTheOrderUnlessToldOtherwise) {
  for (const double draw : {0.0, 0.5, 0.999}) {
    EXPECT_EQ(order({.draw = draw}), (std::vector<std::string>{"a", "b", "c"}));
  }
}

TEST_F(RulePolicyTest, WeightsShareAGroup) {
  rule_.balance = Balance::kWeighted;
  rule_.weights = {{"a", 3}, {"b", 1}, {"c", 0}};
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Random random(seed);
  std::map<std::string, int> chosen;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    const auto names = order({.draw = random.uniform()});
    ++chosen[names.front()];
    EXPECT_EQ(names.back(), "c");
  }
  // Six standard deviations of a binomial share of 3/4.
  EXPECT_NEAR(chosen["a"], kDraws * 3 / 4, 6 * 62);
  EXPECT_EQ(chosen["a"] + chosen["b"], kDraws);
}

TEST_F(RulePolicyTest, WeightsDoNotCrossTiers) {
  rule_.balance = Balance::kWeighted;
  rule_.weights = {{"a", 1}, {"b", 1'000}};
  endpoints_ = {endpoint("a", Tier::kSelfHosted), endpoint("b"), endpoint("c")};
  for (const double draw : {0.0, 0.5, 0.999}) {
    EXPECT_EQ(first({.draw = draw}), "a");
  }
}

TEST_F(RulePolicyTest, LoadDecidesBetweenTwoDrawn) {
  rule_.balance = Balance::kLeastLoad;
  endpoints_[0].in_flight = 50;
  endpoints_[0].first_token_ms = 100;
  endpoints_[1].in_flight = 2;
  endpoints_[1].first_token_ms = 100;
  endpoints_[2].in_flight = 2;
  endpoints_[2].first_token_ms = 300;
  Random random(7);
  std::map<std::string, int> chosen;
  for (int i = 0; i < 3'000; ++i) {
    ++chosen[first({.draw = random.uniform()})];
  }
  EXPECT_EQ(chosen["a"], 0) << "the busiest loses against whatever it is compared to";
  EXPECT_NEAR(chosen["b"], 2'000, 200) << "the idlest wins whenever it is drawn";
  EXPECT_NEAR(chosen["c"], 1'000, 200);
}

TEST_F(RulePolicyTest, AnEndpointNotMeasuredYetGetsItsChance) {
  rule_.balance = Balance::kLeastLoad;
  endpoints_ = {endpoint("a"), endpoint("b")};
  endpoints_[0].first_token_ms = 100;
  endpoints_[0].in_flight = 1;
  EXPECT_EQ(first({.draw = 0.9}), "b");
}

TEST_F(RulePolicyTest, ColdOnesWaitBehindWarmOnesOfTheirTier) {
  endpoints_[0].phase = EndpointPhase::kCold;
  endpoints_[0].warm_up_ms = 40'000;
  EXPECT_EQ(order({}), (std::vector<std::string>{"b", "c", "a"}));
  // Another tier is no reason to stay asleep.
  endpoints_ = {endpoint("a", Tier::kSelfHosted), endpoint("b")};
  endpoints_[0].phase = EndpointPhase::kCold;
  EXPECT_EQ(first({}), "a");
}

TEST_F(RulePolicyTest, SessionsStayWhereTheyWereServed) {
  rule_.sticky = Sticky::kSession;
  served(turn("s1"), "b");
  EXPECT_EQ(first(turn("s1")), "b");
  EXPECT_NE(reason_.find("stays"), std::string::npos) << reason_;
  EXPECT_EQ(first(turn("s2")), "a");
  EXPECT_EQ(first(turn("")), "a");
  auto stranger = turn("s1");
  stranger.tenant = "u";
  EXPECT_EQ(first(stranger), "a") << "another tenant's session of the same name";
}

TEST_F(RulePolicyTest, PrefixesStayWhereTheyWereServed) {
  rule_.sticky = Sticky::kPrefix;
  auto request = turn("", 5'000);
  request.prefix = 77;
  served(request, "c");
  EXPECT_EQ(first(request), "c");
  request.prefix = 78;
  EXPECT_EQ(first(request), "a");
}

TEST_F(RulePolicyTest, FirstTurnsSentSideBySideStayTogether) {
  rule_.sticky = Sticky::kSession;
  rule_.balance = Balance::kWeighted;
  policy_.on_dispatch(rule_, turn("s"), endpoints_[1]);
  policy_.on_dispatch(rule_, turn("s"), endpoints_[2]);
  EXPECT_EQ(first(turn("s")), "b");
}

TEST_F(RulePolicyTest, AnEndpointThatIsGoneOrColdHoldsNobody) {
  rule_.sticky = Sticky::kSession;
  served(turn("s"), "c");
  endpoints_[2].phase = EndpointPhase::kCold;
  EXPECT_EQ(first(turn("s")), "a");
  endpoints_.pop_back();
  EXPECT_EQ(first(turn("s")), "a");
}

TEST_F(RulePolicyTest, SessionsComeHomeFromAFallbackTier) {
  rule_.sticky = Sticky::kSession;
  endpoints_ = {endpoint("home", Tier::kSelfHosted), endpoint("paid", Tier::kCommercial)};
  served(turn("s"), "paid");
  EXPECT_EQ(first(turn("s")), "home");
  EXPECT_NE(reason_.find("comes home"), std::string::npos) << reason_;
}

// 10,000 warm tokens at 0.30 instead of 3.00 USD per million: 3,000,000 nano-USD to read again
// 27,000,000.
TEST_F(RulePolicyTest, MovingHasItsPrice) {
  rule_.sticky = Sticky::kSession;
  const RoutePrice dear{.input = 3'000'000'000,
                        .cached_input = 300'000'000,
                        .output = 10'000'000'000,
                        .per_hour = {}};
  endpoints_ = {endpoint("a"), endpoint("b")};
  endpoints_[0].price = dear;
  endpoints_[1].price = dear;
  // The same price: a cold cache costs more than nothing.
  served(turn("s", 10'000), "b");
  EXPECT_EQ(first(turn("s", 10'500)), "b");
  // Cheaper by less than the cache is worth: stay.
  endpoints_[0].price.input = 1'000'000'000;
  endpoints_[0].price.output = 9'000'000'000;
  EXPECT_EQ(first(turn("s", 10'500)), "b");
  // Cheaper by more: move.
  endpoints_[0].price.input = 100'000'000;
  EXPECT_EQ(first(turn("s", 10'500)), "a");
  EXPECT_NE(reason_.find("moves"), std::string::npos) << reason_;
  // Little is cached yet, so the same difference in list price moves at once.
  endpoints_[0].price.input = 2'900'000'000;
  served(turn("t", 10), "b");
  EXPECT_EQ(first(turn("t", 10'500)), "a");
}

TEST_F(RulePolicyTest, WhereMoneyIsEqualTimeDecides) {
  rule_.sticky = Sticky::kSession;
  for (auto& each : endpoints_) {
    each.first_token_ms = 200;
    each.max_in_flight = 4;
  }
  served(turn("s", 1'000), "b");  // 1,000 tokens are read again in 200 ms
  endpoints_[1].in_flight = 3;    // 150 ms of waiting
  EXPECT_EQ(first(turn("s", 1'000)), "b");
  endpoints_[1].in_flight = 5;  // 250 ms
  EXPECT_EQ(first(turn("s", 1'000)), "a");
}

}  // namespace
}  // namespace genesis::router
