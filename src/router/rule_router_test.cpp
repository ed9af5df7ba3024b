// Unit tests of the router: names, agents, cheap tasks, what stands behind the usable ones, the
// share cap, predictions.
#include "router/rule_router.h"

#include "base/random.h"
#include "router/predict.h"

#include <gtest/gtest.h>

#include <random>

namespace genesis::router {
namespace {

constexpr SteadyTime kNow{std::chrono::hours(5)};

EndpointSnapshot endpoint(const std::string& name, Tier tier, bool usable = true) {
  return {.name = name,
          .model = name + "-model",
          .tier = tier,
          .usable = usable,
          .why_not = usable ? "" : "ejected"};
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> out;
  for (const PlanStep& step : plan.steps) {
    out.push_back(step.endpoint);
  }
  return out;
}

const Alternative* find(const Plan& plan, const std::string& name) {
  const auto at = std::ranges::find(plan.alternatives, name, &Alternative::endpoint);
  return at == plan.alternatives.end() ? nullptr : &*at;
}

using Names = std::vector<std::string>;

RouterRules three_tiers() {
  return {
      .routes = {
          {.name = "auto", .endpoints = {"local", "managed", "paid"}, .aliases = {"gpt-4o-mini"}}}};
}

const RuleRouter kRouter(three_tiers());

TEST(RuleRouter, KeepsTheConfiguredOrder) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("paid", Tier::kCommercial),
                                                   endpoint("local", Tier::kSelfHosted),
                                                   endpoint("managed", Tier::kManaged)};
  const auto plan = kRouter.plan({.route = "auto"}, endpoints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"local", "managed", "paid"}));
  EXPECT_EQ(names(*kRouter.plan({.route = "gpt-4o-mini"}, endpoints)), names(*plan));
}

TEST(RuleRouter, PutsUnusableEndpointsLastWithTheReason) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted, false),
                                                   endpoint("managed", Tier::kManaged)};
  const auto plan = kRouter.plan({.route = "auto"}, endpoints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"managed", "local"}));
  EXPECT_EQ(plan->steps[1].reason, "last resort: ejected");
}

TEST(RuleRouter, FullAndDrainingEndpointsStandBehind) {
  std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                             endpoint("managed", Tier::kManaged),
                                             endpoint("paid", Tier::kCommercial)};
  endpoints[0].phase = EndpointPhase::kDraining;
  endpoints[1].max_in_flight = 4;
  endpoints[1].in_flight = 4;
  const auto plan = kRouter.plan({.route = "auto"}, endpoints);
  EXPECT_EQ(names(*plan), (Names{"paid", "managed", "local"}));
}

TEST(RuleRouter, EndpointAndModelNamesAreRoutes) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                                   endpoint("paid", Tier::kCommercial)};
  EXPECT_EQ(names(*kRouter.plan({.route = "paid"}, endpoints)), (Names{"paid"}));
  EXPECT_EQ(names(*kRouter.plan({.route = "local-model"}, endpoints)), (Names{"local"}));
}

TEST(RuleRouter, UnknownNameListsKnownOnes) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted)};
  const auto plan = kRouter.plan({.route = "gpt-9"}, endpoints);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(plan.error().param, "model");
  EXPECT_NE(plan.error().hint.find("auto"), std::string::npos);
}

// Agents and cheap tasks of the mission's table.
class FleetTest : public ::testing::Test {
 protected:
  Names plan(const RouteFeatures& features) {
    const auto made = router_.plan(features, endpoints_);
    EXPECT_TRUE(made) << made.error().message;
    return made ? names(*made) : Names{};
  }

  std::vector<EndpointSnapshot> endpoints_ = {endpoint("local", Tier::kSelfHosted),
                                              endpoint("managed", Tier::kManaged),
                                              endpoint("gemma-9b", Tier::kManaged),
                                              endpoint("paid", Tier::kCommercial)};
  RuleRouter router_{
      {.routes = {{.name = "auto", .endpoints = {"local", "managed", "paid"}, .aliases = {}}},
       .agents = {{.name = "qa", .model = "managed-model", .task = ""},
                  {.name = "router", .model = "auto", .task = "classification"}},
       .cheap_models = {{"classification", "gemma-9b-model"}}}};
};

TEST_F(FleetTest, AgentsAreNames) {
  EXPECT_EQ(plan({.route = "qa"}), (Names{"managed"}));
}

TEST_F(FleetTest, ACheapTaskGoesToItsModelFirst) {
  EXPECT_EQ(plan({.route = "auto", .caller = {.task = "classification"}}),
            (Names{"gemma-9b", "local", "managed", "paid"}));
  EXPECT_EQ(plan({.route = "qa", .caller = {.task = "classification"}}),
            (Names{"gemma-9b", "managed"}));
  EXPECT_EQ(plan({.route = "auto", .caller = {.task = "essay"}}),
            (Names{"local", "managed", "paid"}));
}

TEST_F(FleetTest, TheAgentsTaskCountsWhenTheCallerNamesNone) {
  EXPECT_EQ(plan({.route = "router"}).front(), "gemma-9b");
  EXPECT_EQ(plan({.route = "auto", .caller = {.agent = "router"}}).front(), "gemma-9b");
  EXPECT_EQ(plan({.route = "router", .caller = {.task = "essay"}}).front(), "local");
}

TEST_F(FleetTest, WhoNamesOneModelGetsIt) {
  EXPECT_EQ(plan({.route = "paid", .caller = {.task = "classification"}}), (Names{"paid"}));
}

TEST_F(FleetTest, ACheapModelThatIsDownIsAskedLast) {
  endpoints_[2].usable = false;
  EXPECT_EQ(plan({.route = "router"}), (Names{"local", "managed", "paid", "gemma-9b"}));
}

TEST(RuleRouter, ARecoveringEndpointGetsItsShareOnly) {
  std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                             endpoint("managed", Tier::kManaged)};
  endpoints[0].ramp = 0.25;
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Random random(seed);
  constexpr int kDraws = 20'000;
  int local = 0;
  for (int i = 0; i < kDraws; ++i) {
    local +=
        names(*kRouter.plan({.route = "auto", .draw = random.uniform()}, endpoints))[0] == "local"
            ? 1
            : 0;
  }
  EXPECT_NEAR(local, kDraws / 4, 6 * 62);  // six standard deviations
}

class CapTest : public ::testing::Test {
 protected:
  std::shared_ptr<ShareCap> cap_ =
      std::make_shared<ShareCap>(ShareCapOptions{.max_share_ppm = 10'000, .min_requests = 1});
  RuleRouter router_{three_tiers(), {.pins = std::make_shared<StickyTable>(), .cap = cap_}};
  std::vector<EndpointSnapshot> endpoints_ = {endpoint("local", Tier::kSelfHosted, false),
                                              endpoint("paid", Tier::kCommercial)};
};

TEST_F(CapTest, RulesTheCommercialTierOutWhenItsShareIsUsed) {
  EXPECT_EQ(names(*router_.plan({.route = "auto", .now = kNow}, endpoints_)),
            (Names{"paid", "local"}));
  ASSERT_TRUE(cap_->take(kNow));
  const auto plan = router_.plan({.route = "auto", .now = kNow}, endpoints_);
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"local"}));
  ASSERT_NE(find(*plan, "paid"), nullptr);
  EXPECT_FALSE(find(*plan, "paid")->chosen);
  EXPECT_NE(find(*plan, "paid")->reason.find("share used up: 1 of 1"), std::string::npos);
}

TEST_F(CapTest, NothingElseLeftIsUnavailableWithATime) {
  ASSERT_TRUE(cap_->take(kNow));
  const auto plan = router_.plan({.route = "paid", .now = kNow}, endpoints_);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(plan.error().type, "commercial_share_cap");
  ASSERT_TRUE(plan.error().retry_after);
  EXPECT_GE(*plan.error().retry_after, std::chrono::hours(24));
}

TEST_F(CapTest, RequestsThatWereDispatchedMakeRoom) {
  ASSERT_TRUE(cap_->take(kNow));
  RequestTrace trace{.features = {.route = "auto", .now = kNow}};
  for (int i = 0; i < 300; ++i) {
    router_.on_finished(trace);
  }
  EXPECT_TRUE(cap_->state(kNow).full()) << "a request that went nowhere counts for nothing";
  trace.attempts.push_back({.endpoint = "local"});
  for (int i = 0; i < 300; ++i) {
    router_.on_finished(trace);
  }
  EXPECT_EQ(cap_->state(kNow).allowed, 3);
  EXPECT_EQ(names(*router_.plan({.route = "auto", .now = kNow}, endpoints_)),
            (Names{"paid", "local"}));
}

TEST(Plan, TellsWhatEachAlternativeWouldCost) {
  std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                             endpoint("managed", Tier::kManaged),
                                             endpoint("paid", Tier::kCommercial)};
  endpoints[0].price.per_hour = 60'000'000;
  endpoints[2].price.input = 2'500'000'000;
  endpoints[2].price.output = 10'000'000'000;
  endpoints[2].first_token_ms = 320;
  endpoints[1].phase = EndpointPhase::kCold;
  endpoints[1].first_token_ms = 100;
  endpoints[1].warm_up_ms = 20'000;
  const auto plan =
      kRouter.plan({.route = "auto", .input_tokens = 1'001, .output_tokens = 10}, endpoints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(find(*plan, "local")->predicted_cost, 0);
  EXPECT_NE(find(*plan, "local")->reason.find("by the hour"), std::string::npos);
  EXPECT_EQ(find(*plan, "managed")->predicted_cost, -1);
  EXPECT_EQ(find(*plan, "managed")->predicted_first_token_ms, 20'100);
  EXPECT_EQ(find(*plan, "paid")->predicted_cost, 1'001 * 2'500 + 10 * 10'000);
  EXPECT_EQ(find(*plan, "paid")->predicted_first_token_ms, 320);
  EXPECT_EQ(plan->steps[2].predicted_cost, find(*plan, "paid")->predicted_cost);
}

TEST(Plan, TheSameInputsGiveTheSamePlan) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                                   endpoint("managed", Tier::kManaged)};
  RouterRules rules = three_tiers();
  rules.routes[0].balance = Balance::kLeastLoad;
  rules.routes[0].hedge_after = std::chrono::milliseconds(70);
  rules.routes[0].rescue = false;
  const RuleRouter router(rules);
  const RouteFeatures features{.route = "auto", .draw = 0.37};
  EXPECT_EQ(names(*router.plan(features, endpoints)), names(*router.plan(features, endpoints)));
  EXPECT_EQ(router.plan(features, endpoints)->hedge_after.count(), 70);
  EXPECT_FALSE(router.plan(features, endpoints)->rescue);
}

// A policy of a later issue: the dearest first.
class DearestFirst final : public Policy {
 public:
  std::string_view name() const override { return "dearest"; }

  PolicyNeeds needs() const override { return {}; }

  void order(const RouteRule&,
             const RouteFeatures&,
             std::vector<Candidate>& candidates) const override {
    std::ranges::reverse(candidates);
  }
};

TEST(Policy, AnotherOneNeedsNoOtherChange) {
  RouterRules rules = three_tiers();
  rules.routes[0].policy = "dearest";
  RuleRouter router(rules);
  router.add_policy(std::make_unique<DearestFirst>());
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                                   endpoint("managed", Tier::kManaged, false),
                                                   endpoint("paid", Tier::kCommercial)};
  const auto plan = router.plan({.route = "auto"}, endpoints);
  EXPECT_EQ(plan->policy, "dearest");
  EXPECT_EQ(names(*plan), (Names{"paid", "local", "managed"}));
}

}  // namespace
}  // namespace genesis::router
