// Unit tests of the rule policy: order, last resort, names.
#include "router/rule_router.h"

#include <gtest/gtest.h>

namespace genesis::router {
namespace {

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

const RuleRouter kRouter(
    {{.name = "auto", .endpoints = {"local", "managed", "paid"}, .aliases = {"gpt-4o-mini"}}});

TEST(RuleRouter, KeepsTheConfiguredOrder) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("paid", Tier::kCommercial),
                                                   endpoint("local", Tier::kSelfHosted),
                                                   endpoint("managed", Tier::kManaged)};
  const auto plan = kRouter.plan({.route = "auto"}, endpoints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (std::vector<std::string>{"local", "managed", "paid"}));
  EXPECT_EQ(names(*kRouter.plan({.route = "gpt-4o-mini"}, endpoints)), names(*plan));
}

TEST(RuleRouter, PutsUnusableEndpointsLastWithTheReason) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted, false),
                                                   endpoint("managed", Tier::kManaged)};
  const auto plan = kRouter.plan({.route = "auto"}, endpoints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (std::vector<std::string>{"managed", "local"}));
  EXPECT_EQ(plan->steps[1].reason, "last resort: ejected");
}

TEST(RuleRouter, EndpointAndModelNamesAreRoutes) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted),
                                                   endpoint("paid", Tier::kCommercial)};
  EXPECT_EQ(names(*kRouter.plan({.route = "paid"}, endpoints)), (std::vector<std::string>{"paid"}));
  EXPECT_EQ(names(*kRouter.plan({.route = "local-model"}, endpoints)),
            (std::vector<std::string>{"local"}));
}

TEST(RuleRouter, UnknownNameListsKnownOnes) {
  const std::vector<EndpointSnapshot> endpoints = {endpoint("local", Tier::kSelfHosted)};
  const auto plan = kRouter.plan({.route = "gpt-9"}, endpoints);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(plan.error().param, "model");
  EXPECT_NE(plan.error().hint.find("auto"), std::string::npos);
}

}  // namespace
}  // namespace genesis::router
