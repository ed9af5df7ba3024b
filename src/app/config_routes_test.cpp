// Unit tests of the routing part of the configuration: policies, tiers, weights, agents, cheap
// tasks, the commercial cap, and the shipped example.
#include "app/config.h"
#include "base/file.h"
#include "base/random.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

namespace genesis::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndpoints = R"([[endpoint]]
name = "a"
tier = "managed"
url = "http://127.0.0.1:1/v1"
model = "ma"

[[endpoint]]
name = "b"
tier = "managed"
url = "http://127.0.0.1:2/v1"
model = "mb"

[[endpoint]]
name = "paid"
url = "http://127.0.0.1:3/v1"
model = "gpt-4o"
)";
constexpr int kLines = 16;  // of kEndpoints

class RoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / new_id("genesis-routes-");
    fs::create_directories(folder_);
    home_.config_file = folder_ / "genesis.toml";
    home_.data = folder_;
  }

  void TearDown() override { fs::remove_all(folder_); }

  Result<Config> load(const std::string& text) {
    EXPECT_TRUE(write_file_atomic(home_.config_file, kEndpoints + text));
    return load_config(home_, {});
  }

  // `line` counts within `text`.
  void expect_error(const std::string& text, int line, const std::string& word) {
    const auto config = load(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, ErrorCode::kConfig);
    const std::string all = config.error().message + " " + config.error().hint;
    EXPECT_NE(all.find("genesis.toml:" + std::to_string(kLines + line) + ":"), std::string::npos)
        << all;
    EXPECT_NE(all.find(word), std::string::npos) << all;
  }

  fs::path folder_;
  Home home_;
};

TEST_F(RoutesTest, ReadsEveryKeyOfARoute) {
  const auto config = load(R"([[route]]
name = "auto"
endpoints = ["a", "b", "paid"]
policy = "rule"
balance = "least_load"
weights = { a = 3, b = 0 }
sticky = "session"
hedge_ms = 250
rescue = "hold"
baseline = "gpt-4o"
)");
  ASSERT_TRUE(config) << config.error().message;
  const router::RouteRule& rule = config->routes.at(0);
  EXPECT_EQ(rule.policy, "rule");
  EXPECT_EQ(rule.balance, router::Balance::kLeastLoad);
  EXPECT_EQ(rule.weight_of("a"), 3);
  EXPECT_EQ(rule.weight_of("b"), 0);
  EXPECT_EQ(rule.weight_of("paid"), 1);
  EXPECT_EQ(rule.sticky, router::Sticky::kSession);
  EXPECT_EQ(rule.hedge_after.count(), 250);
  EXPECT_TRUE(rule.rescue);
  EXPECT_TRUE(rule.hold);
  EXPECT_EQ(config->baselines.routes.at("auto"), "gpt-4o");
  EXPECT_EQ(config->origins.at("route[0].weights.a").text, "3");
  EXPECT_NE(config->origins.at("route[0].weights.a").origin.find("genesis.toml:22"),
            std::string::npos);
}

TEST_F(RoutesTest, WeightsAloneMeanWeighted) {
  const auto config = load("[[route]]\nname=\"auto\"\nendpoints=[\"a\"]\nweights={a=1}\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->routes[0].balance, router::Balance::kWeighted);
}

TEST_F(RoutesTest, TiersPickAndOrder) {
  auto config = load("[[route]]\nname=\"auto\"\ntiers=[\"commercial\", \"managed\"]\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->routes[0].endpoints, (std::vector<std::string>{"paid", "a", "b"}));
  config =
      load("[[route]]\nname=\"auto\"\nendpoints=[\"paid\", \"b\", \"a\"]\ntiers=[\"managed\"]\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->routes[0].endpoints, (std::vector<std::string>{"b", "a"}));
}

TEST_F(RoutesTest, ErrorsNameLineAndSuggestion) {
  const std::string route = "[[route]]\nname=\"auto\"\nendpoints=[\"a\", \"b\"]\n";
  expect_error(route + "weights = { aa = 1 }\n", 4, "did you mean 'a'");
  expect_error(route + "weights = { a = \"x\" }\n", 4, "an integer");
  expect_error(route + "weights = { a = -1 }\n", 4, "between");
  expect_error(route + "balance = \"random\"\n", 4, "least_load");
  expect_error(route + "balance = \"order\"\nweights = { a = 1 }\n", 4, "weights");
  expect_error(route + "sticky = \"yes\"\n", 4, "session|prefix|off");
  expect_error(route + "stiky = \"off\"\n", 4, "did you mean 'sticky'");
  expect_error(route + "tiers = [\"comercial\"]\n", 4, "did you mean 'commercial'");
  expect_error(route + "tiers = [\"self_hosted\"]\n", 4, "no endpoint");
  expect_error(route + "policy = \"halo\"\n", 4, "rule");
  expect_error("[[route]]\nname=\"auto\"\n", 1, "endpoints");
}

TEST_F(RoutesTest, AgentsLeadSomewhere) {
  const auto config = load("[[agent]]\nname=\"qa\"\nmodel=\"mb\"\ntask=\"validation\"\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->agents.at(0).task, "validation");
  EXPECT_TRUE(knows_name(*config, "qa"));
  EXPECT_FALSE(knows_name(*config, "qb"));
  expect_error("[[agent]]\nname=\"qa\"\nmodel=\"mc\"\n", 3, "did you mean 'ma'");
  expect_error("[[agent]]\nname=\"qa\"\n", 1, "'model'");
  expect_error("[[agent]]\nname=\"a\"\nmodel=\"mb\"\n", 1, "another name");
  expect_error("[[agent]]\nname=\"auto\"\nmodel=\"mb\"\n", 1, "another name");
  const std::string qa = "[[agent]]\nname=\"qa\"\nmodel=\"mb\"\n";
  expect_error(qa + qa, 4, "another name");
}

TEST_F(RoutesTest, AnAgentMayHaveABudget) {
  const std::string agent = "[[agent]]\nname=\"qa\"\nmodel=\"mb\"\n";
  const auto config = load(agent + "budget=\"30.00/month\"\n");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->spend_limits.size(), 1U);
  EXPECT_EQ(config->spend_limits[0].id(), "agent:qa/month");
  EXPECT_EQ(config->spend_limits[0].limit, 30 * kNanoPerUsd);
  expect_error(agent + "budget=\"lots\"\n", 4, "30.00/month");
  expect_error(
      agent + "budget=\"30.00/month\"\n[[budget]]\nagent=\"qa\"\nusd=\"1.00\"\n", 5, "set twice");
}

TEST_F(RoutesTest, CheapTasksLeadSomewhere) {
  const auto config = load("[cheap_model_mapping]\nrouting = \"ma\"\n\"code review\" = \"auto\"\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->cheap_models.at("routing"), "ma");
  EXPECT_EQ(config->cheap_models.at("code review"), "auto");
  EXPECT_EQ(router_rules(*config).cheap_models.size(), 2U);
  expect_error("[cheap_model_mapping]\nrouting = \"nothing-like-it\"\n", 2, "[[endpoint]]");
  expect_error("[cheap_model_mapping]\nrouting = 5\n", 2, "a string");
}

TEST_F(RoutesTest, TheCommercialTierIsCappedByDefault) {
  auto config = load("");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->commercial_cap);
  EXPECT_EQ(config->commercial_cap->max_share_ppm, 10'000);
  EXPECT_EQ(config->commercial_cap->window, std::chrono::hours(24));
  EXPECT_EQ(config->commercial_cap->min_requests, 5);
  config = load("[commercial]\nmax_share = \"0.25%\"\nwindow = \"30m\"\nmin_requests = 0\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->commercial_cap->max_share_ppm, 2'500);
  EXPECT_EQ(config->commercial_cap->window, std::chrono::minutes(30));
  EXPECT_EQ(config->commercial_cap->min_requests, 0);
  for (const char* wrong : {"1", "101%", "-1%", "1.23456%", "%", "x%", "1.%"}) {
    expect_error(std::string("[commercial]\nmax_share = \"") + wrong + "\"\n", 2, "percentage");
  }
  for (const char* wrong : {"24", "h", "0s", "-1h", "400d", "1 h", ""}) {
    expect_error(std::string("[commercial]\nwindow = \"") + wrong + "\"\n", 2, "24h");
  }
}

TEST_F(RoutesTest, WithoutAnotherTierThereIsACapOnlyOnDemand) {
  const std::string paid =
      "[[endpoint]]\nname=\"paid\"\nurl=\"http://127.0.0.1:3/v1\"\nmodel=\"gpt-4o\"\n";
  ASSERT_TRUE(write_file_atomic(home_.config_file, paid));
  auto config = load_config(home_, {});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_FALSE(config->commercial_cap);
  ASSERT_TRUE(write_file_atomic(home_.config_file, paid + "[commercial]\nmax_share=\"5%\"\n"));
  config = load_config(home_, {});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->commercial_cap->max_share_ppm, 50'000);
}

// The mission's fleet: fifteen agents, their models, the cheap tasks.
TEST(Example, TheShippedConfigurationIsTheMissionsFleet) {
  Home home;
  home.config_file = GENESIS_EXAMPLE_CONFIG;
  home.config_file_required = true;
  home.data = fs::temp_directory_path();
  const auto config = load_config(home, {});
  ASSERT_TRUE(config) << config.error().message;
  std::map<std::string, std::string> models;
  for (const router::AgentRule& agent : config->agents) {
    models[agent.name] = agent.model;
  }
  const std::set<std::string> wanted = {"analyst",
                                        "builder",
                                        "qa",
                                        "support",
                                        "router",
                                        "researcher",
                                        "planner",
                                        "reviewer",
                                        "data",
                                        "documentation",
                                        "security",
                                        "deployment",
                                        "marketing",
                                        "onboarding",
                                        "finance"};
  std::set<std::string> named;
  for (const auto& [name, model] : models) {
    named.insert(name);
    EXPECT_TRUE(knows_name(*config, model)) << name << " -> " << model;
  }
  EXPECT_EQ(named, wanted);
  EXPECT_EQ(models["analyst"], "deepseek-r1-distill-qwen-32b");
  EXPECT_EQ(models["qa"], "deepseek-r1-distill-qwen-32b");
  EXPECT_EQ(models["router"], "routing-agent-qwen-7b");
  EXPECT_EQ(config->cheap_models.at("routing"), "gemma-2-27b-it");
  EXPECT_EQ(config->cheap_models.at("classification"), "gemma-2-9b-it");
  EXPECT_EQ(config->cheap_models.at("validation"), "gemma-2-9b-it");
  ASSERT_TRUE(config->commercial_cap);
  EXPECT_EQ(config->commercial_cap->max_share_ppm, 10'000);
}

}  // namespace
}  // namespace genesis::app
