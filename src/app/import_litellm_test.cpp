// LiteLLM files become configurations that load; secrets stay behind; hostile files are refused.
#include "app/import_litellm.h"

#include "app/config.h"
#include "app/yaml.h"
#include "base/file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <unistd.h>

namespace genesis::app {

namespace {

constexpr std::string_view kProxy = R"yaml(
model_list:
  - model_name: gpt-4o
    litellm_params: &common
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_KEY_ONE
      rpm: 600
  - model_name: gpt-4o
    litellm_params:
      <<: *common
      model: azure/my-deployment
      api_base: https://mine.openai.azure.com/
      api_key: sk-CANARY-0123456789abcdef
      weight: 3
    model_info:
      base_model: azure/gpt-4o
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
  - model_name: llama
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct
      api_base: http://10.0.0.7:8000/v1
      input_cost_per_token: 1.2e-07
      output_cost_per_token: 0.00000039
      timeout: 12.5
  - model_name: bedrock
    litellm_params:
      model: bedrock/anthropic.claude
  - model_name: "openai/*"
    litellm_params:
      model: openai/*
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {"gpt-4": "gpt-4o", "fast": {"model": "llama", "hidden": true}}
  fallbacks: [{"llama": ["gpt-4o"]}]
litellm_settings:
  request_timeout: 60
  max_budget: 250.5
  budget_duration: 30d
  callbacks: ["prometheus"]
general_settings:
  master_key: sk-CANARY-master
environment_variables:
  LANGFUSE_SECRET: sk-CANARY-env
)yaml";

// What loading the text as genesis.toml gives.
Result<Config> load_text(const std::string& toml) {
  std::string pattern = (std::filesystem::temp_directory_path() / "genesis-import-XXXXXX").string();
  const std::filesystem::path folder = ::mkdtemp(pattern.data());
  Home home;
  home.data = folder;
  home.config_file = folder / "genesis.toml";
  home.config_file_required = true;
  EXPECT_TRUE(write_file_atomic(home.config_file, toml));
  auto config = load_config(home, {});
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return config;
}

bool left_out(const ImportedConfig& imported, std::string_view part) {
  return std::ranges::any_of(imported.left_out, [&](const ImportNote& note) {
    return note.what.find(part) != std::string::npos;
  });
}

TEST(ImportLitellm, MakesAConfigurationThatLoads) {
  const auto imported = import_litellm(kProxy);
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(imported->endpoints, 4U);
  EXPECT_EQ(imported->routes, 3U);
  const auto config = load_text(imported->toml);
  ASSERT_TRUE(config) << config.error().message << "\n" << imported->toml;
  ASSERT_EQ(config->endpoints.size(), 4U);
  const EndpointConfig& azure = config->endpoints[1];
  EXPECT_EQ(azure.model, "my-deployment");
  EXPECT_EQ(azure.price_model, "gpt-4o");
  EXPECT_EQ(azure.api_key_source, "env:AZURE_API_KEY");
  EXPECT_EQ(config->endpoints[0].api_key_source, "env:OPENAI_KEY_ONE");
  EXPECT_EQ(config->endpoints[2].dialect, UpstreamDialect::kAnthropic);
  const EndpointConfig& llama = config->endpoints[3];
  EXPECT_EQ(llama.tier, Tier::kSelfHosted);
  EXPECT_EQ(llama.price_input, "0.12");
  EXPECT_EQ(llama.price_output, "0.39");
  EXPECT_EQ(llama.budgets.total, std::chrono::milliseconds(12'500));
  EXPECT_EQ(config->budgets.total, std::chrono::milliseconds(60'000));
  EXPECT_EQ(config->default_route, "gpt-4o");
  ASSERT_EQ(config->spend_limits.size(), 1U);
  EXPECT_EQ(config->spend_limits[0].limit, 250'500'000'000);
  EXPECT_TRUE(knows_name(*config, "gpt-4"));
  EXPECT_TRUE(knows_name(*config, "fast"));
  const auto route = std::ranges::find(config->routes, "llama", &router::RouteRule::name);
  ASSERT_NE(route, config->routes.end());
  EXPECT_EQ(route->endpoints.size(), 3U) << "its own and the two it falls back to";
}

TEST(ImportLitellm, CopiesNoSecretAndListsWhatItLeaves) {
  const auto imported = import_litellm(kProxy);
  ASSERT_TRUE(imported);
  std::string all = imported->toml;
  for (const ImportNote& note : imported->left_out) {
    all += note.what;
  }
  EXPECT_EQ(all.find("CANARY"), std::string::npos) << all;
  for (const char* part : {"was not copied: put it into the environment variable AZURE_API_KEY",
                           "provider 'bedrock'",
                           "wildcard",
                           "litellm_params.rpm",
                           "general_settings.master_key",
                           "environment_variables.LANGFUSE_SECRET",
                           "router_settings.routing_strategy",
                           "litellm_settings.callbacks"}) {
    EXPECT_TRUE(left_out(*imported, part)) << part;
  }
  EXPECT_TRUE(std::ranges::is_sorted(imported->left_out, {}, &ImportNote::line));
  EXPECT_TRUE(std::ranges::all_of(imported->left_out, [](const auto& n) { return n.line > 1; }));
}

TEST(ImportLitellm, NamesCannotBreakOutOfTheFile) {
  const auto imported = import_litellm(
      "model_list:\n"
      "  - model_name: \"a\\\"]\\n[server]\\nlisten='0.0.0.0:1'\"\n"
      "    litellm_params: {model: \"openai/x\\\"\\n[server]\", api_key: \"os.environ/A\\\"B\"}\n");
  ASSERT_TRUE(imported) << imported.error().message;
  const auto config = load_text(imported->toml);
  ASSERT_TRUE(config) << config.error().message << "\n" << imported->toml;
  EXPECT_TRUE(config->listen.is_loopback());
}

TEST(ImportLitellm, RefusesWhatIsNoSuchFile) {
  for (const char* text : {"",
                           "a: 1",
                           "model_list: 3",
                           "model_list: []",
                           "model_list:\n - model_name: x",
                           "model_list:\n - model_name: x\n   litellm_params: {model: bedrock/y}",
                           "- 1\n- 2",
                           "{",
                           "a: 'x"}) {
    const auto imported = import_litellm(text);
    ASSERT_FALSE(imported) << text;
    EXPECT_FALSE(imported.error().message.empty());
  }
}

TEST(Yaml, RemembersLinesAndRefusesDoubleKeys) {
  const auto node = parse_yaml("a: 1\nb:\n  - x\n  - ~\n");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->text("a"), "1");
  ASSERT_EQ(node->find("b")->items.size(), 2U);
  EXPECT_EQ(node->find("b")->items[1].line, 4U);
  EXPECT_EQ(node->find("b")->items[1].kind, YamlNode::Kind::kNull);
  const auto twice = parse_yaml("a: 1\nb: 2\na: 3\n");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().param, "line 3");
  EXPECT_FALSE(parse_yaml("a: *nothing\n"));
}

TEST(Yaml, LimitsDepthAndExpansion) {
  EXPECT_FALSE(parse_yaml(std::string(200, '[') + std::string(200, ']')));
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) {
      laughs += (j > 0 ? ",*a" : "*a") + std::to_string(i - 1);
    }
    laughs += "]\n";
  }
  const auto bomb = parse_yaml(laughs);
  ASSERT_FALSE(bomb);
  EXPECT_NE(bomb.error().message.find("more than"), std::string::npos);
}

}  // namespace

}  // namespace genesis::app
