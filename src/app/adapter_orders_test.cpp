// Orders to load and unload adapters against a configuration.
#include "app/adapter_orders.h"

#include <gtest/gtest.h>

namespace genesis::app {

namespace {

EndpointConfig endpoint(std::string name, EndpointKind kind) {
  EndpointConfig made{.name = name, .kind = kind};
  made.model = name + "-model";
  made.tier = Tier::kSelfHosted;
  return made;
}

Config config_of(std::vector<EndpointConfig> endpoints) {
  Config config;
  config.endpoints = std::move(endpoints);
  return config;
}

std::string order(std::string_view more) {
  return R"({"lora_name":"triage","lora_path":"/a")" + std::string(more) + "}";
}

TEST(AdapterOrders, AnOrderBecomesAnEndpointOfTheOnlyEngine) {
  const Config config =
      config_of({endpoint("local", EndpointKind::kLocal), endpoint("paid", EndpointKind::kUrl)});
  const auto made = read_adapter_order(order(""), config);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->name, "triage");
  EXPECT_EQ(made->model, "triage");
  EXPECT_EQ(made->adapter_of, "local");
  EXPECT_EQ(made->adapter_folder, "/a");
}

TEST(AdapterOrders, WhichEngineMustBeClear) {
  const Config two =
      config_of({endpoint("one", EndpointKind::kLocal), endpoint("two", EndpointKind::kLocal)});
  EXPECT_EQ(read_adapter_order(order(""), two).error().param, "endpoint");
  EXPECT_EQ(read_adapter_order(order(R"(,"endpoint":"two")"), two)->adapter_of, "two");
  EXPECT_EQ(read_adapter_order(order(R"(,"endpoint":"x")"), two).error().param, "endpoint");
  const Config none = config_of({endpoint("paid", EndpointKind::kUrl)});
  EXPECT_EQ(read_adapter_order(order(""), none).error().param, "endpoint");
}

TEST(AdapterOrders, ANameInUseIsKeptUnlessToldOtherwise) {
  Config config = config_of({endpoint("local", EndpointKind::kLocal)});
  EXPECT_EQ(read_adapter_order(R"({"lora_name":"local","lora_path":"/a"})", config).error().code,
            ErrorCode::kConflict);
  config.endpoints.push_back(adapter_endpoint(config.endpoints[0], "triage", "/old"));
  EXPECT_EQ(read_adapter_order(order(""), config).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(read_adapter_order(order(R"(,"load_inplace":true)"), config));
}

TEST(AdapterOrders, WhatWasLoadedStaysOverTheFile) {
  const Config file = config_of({endpoint("local", EndpointKind::kLocal)});
  const EndpointConfig loaded = adapter_endpoint(file.endpoints[0], "triage", "/a");
  const auto both = with_adapters(file, {loaded});
  ASSERT_EQ(both->endpoints.size(), 2U);
  EXPECT_EQ(both->endpoints[1].name, "triage");
  // The file has an adapter of that name by now, and then no engine any more.
  Config named = file;
  named.endpoints.push_back(adapter_endpoint(file.endpoints[0], "triage", "/file"));
  const auto one = with_adapters(named, {loaded});
  ASSERT_EQ(one->endpoints.size(), 2U);
  EXPECT_EQ(one->endpoints[1].adapter_folder, "/a");
  EXPECT_EQ(
      with_adapters(config_of({endpoint("paid", EndpointKind::kUrl)}), {loaded})->endpoints.size(),
      1U);
}

TEST(AdapterOrders, NothingToUnloadSaysWhy) {
  Config config = config_of({endpoint("local", EndpointKind::kLocal)});
  EXPECT_EQ(no_adapter(config, "triage").error().code, ErrorCode::kNotFound);
  config.endpoints.push_back(adapter_endpoint(config.endpoints[0], "triage", "/file"));
  EXPECT_EQ(no_adapter(config, "triage").error().code, ErrorCode::kConflict);
}

}  // namespace

}  // namespace genesis::app
