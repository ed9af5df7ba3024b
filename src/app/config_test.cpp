// Unit tests of the configuration: types, lines, suggestions, precedence, references between
// tables.
#include "app/config.h"

#include "base/file.h"
#include "base/random.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace genesis::app {
namespace {

namespace fs = std::filesystem;

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / new_id("genesis-config-");
    fs::create_directories(folder_);
    home_.config_file = folder_ / "genesis.toml";
    home_.data = folder_;
    ::unsetenv("GENESIS_HOST");
    ::unsetenv("GENESIS_LOG");
    ::unsetenv("GENESIS_LOG_FORMAT");
  }

  void TearDown() override {
    ::unsetenv("GENESIS_HOST");
    fs::remove_all(folder_);
  }

  Result<Config> load(const std::string& text, const std::vector<OptionOverride>& flags = {}) {
    EXPECT_TRUE(write_file_atomic(home_.config_file, text));
    return load_config(home_, flags);
  }

  void expect_error(const std::string& text, const std::string& line, const std::string& word) {
    const auto config = load(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, ErrorCode::kConfig);
    const std::string all = config.error().message + " " + config.error().hint;
    EXPECT_NE(all.find("genesis.toml:" + line), std::string::npos) << all;
    EXPECT_NE(all.find(word), std::string::npos) << all;
  }

  fs::path folder_;
  Home home_;
};

constexpr const char* kThreeTiers = R"([server]
listen = "127.0.0.1:9000"

[budgets]
first_token_ms = 500

[[endpoint]]
name = "paid"
url = "https://api.example.com/v1"
model = "gpt-4o"
api_key = { env = "GENESIS_TEST_KEY" }

[[endpoint]]
name = "local"
kind = "local"

[[endpoint]]
name = "vllm"
tier = "managed"
url = "http://127.0.0.1:8000/v1"
model = "qwen"
price = { input = "0.10", output = "0.40", per_hour = "1.30" }
budgets = { first_token_ms = 250 }

[[route]]
name = "auto"
endpoints = ["local", "vllm", "paid"]
aliases = ["gpt-4o-mini"]
)";

TEST_F(ConfigTest, WithoutAFileThereIsOneLocalEndpoint) {
  const auto config = load_config(home_, {});
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->endpoints.size(), 1U);
  EXPECT_EQ(config->endpoints[0].kind, EndpointKind::kLocal);
  EXPECT_EQ(config->endpoints[0].model, kDefaultModel);
  EXPECT_EQ(config->routes[0].endpoints, (std::vector<std::string>{"local"}));
  EXPECT_EQ(config->listen.port, 8080);
  EXPECT_FALSE(config->require_key);
}

TEST_F(ConfigTest, ReadsThreeTiers) {
  const auto config = load(kThreeTiers);
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->endpoints.size(), 3U);
  EXPECT_EQ(config->endpoints[0].tier, Tier::kCommercial);
  EXPECT_EQ(config->endpoints[0].api_key_source, "env:GENESIS_TEST_KEY");
  EXPECT_EQ(config->endpoints[0].budgets.first_token.count(), 500);
  EXPECT_EQ(config->endpoints[2].tier, Tier::kManaged);
  EXPECT_EQ(config->endpoints[2].price_per_hour, "1.30");
  EXPECT_EQ(config->endpoints[2].budgets.first_token.count(), 250);
  EXPECT_EQ(config->routes[0].aliases, (std::vector<std::string>{"gpt-4o-mini"}));
}

TEST_F(ConfigTest, ErrorsNameLineAndSuggestion) {
  expect_error("[server]\nlisten_on = \"x\"\n", "2", "listen");
  expect_error("[server]\nlisten = 5\n", "2", "a string");
  expect_error("\n[server\n", "2", "");
  expect_error("[budgets]\nconnect_ms = 0\n", "2", "between");
  expect_error("[server]\nlisten = \"nonsense\"\n", "2", "host:port");
  expect_error("[[endpoint]]\nname = \"a\"\nkind = \"locall\"\n", "3", "local|url");
  expect_error(
      "[[endpoint]]\nname = \"a\"\nurl = \"http://h/v1\"\nmodel = \"m\"\napi_key = \"sk-1\"\n",
      "5",
      "env");
  expect_error("[[endpoint]]\nname = \"a\"\nmodel = \"m\"\n", "1", "url");
  expect_error(
      "[[endpoint]]\nname=\"a\"\nkind=\"local\"\n[[route]]\nname=\"r\"\nendpoints=[\"aa\"]\n",
      "4",
      "did you mean 'a'");
  expect_error(
      "[[endpoint]]\nname=\"a\"\nkind=\"local\"\nprice = { input = 2.5, output = \"1\" }\n",
      "4",
      "quotes");
}

TEST_F(ConfigTest, ANameLeadsToOnePlace) {
  const std::string endpoint = "[[endpoint]]\nname=\"a\"\nkind=\"local\"\n";
  expect_error(endpoint + endpoint, "4", "another name");
  const auto route = [](const std::string& name, const std::string& aliases) {
    return "[[route]]\nname=\"" + name + "\"\nendpoints=[\"a\"]\naliases=[" + aliases + "]\n";
  };
  expect_error(endpoint + route("a", ""), "4", "another name");
  expect_error(endpoint + route("r", "") + route("r", ""), "8", "another name");
  expect_error(endpoint + route("r", "\"x\"") + route("s", "\"x\""), "8", "another name");
  expect_error(endpoint + route("r", "\"r\""), "4", "another name");
}

TEST_F(ConfigTest, OnlyALocalEndpointHasADraftModel) {
  const auto config = load("[[endpoint]]\nname = \"big\"\nkind = \"local\"\ndraft = \"small\"\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->endpoints[0].draft, "small");
  const auto refused = load(
      "[[endpoint]]\nname = \"far\"\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n"
      "draft = \"small\"\n");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "endpoint[0].draft");
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFile) {
  ::setenv("GENESIS_HOST", "127.0.0.1:7000", 1);
  auto config = load(kThreeTiers);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->listen.port, 7000);
  EXPECT_EQ(config->origins.at("server.listen").origin, "GENESIS_HOST");
  config = load(kThreeTiers, {{"server.listen", "127.0.0.1:6000", "--listen"}});
  ASSERT_TRUE(config);
  EXPECT_EQ(config->listen.port, 6000);
  EXPECT_EQ(config->origins.at("server.listen").origin, "--listen");
  EXPECT_NE(config->origins.at("budgets.first_token_ms").origin.find("genesis.toml:5"),
            std::string::npos);
}

TEST_F(ConfigTest, BeyondLoopbackAKeyIsRequired) {
  const auto config = load("[server]\nlisten = \"0.0.0.0:8080\"\n");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->require_key);
}

TEST_F(ConfigTest, ANamedFileMustExist) {
  home_.config_file_required = true;
  const auto config = load_config(home_, {});
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kConfig);
}

Result<std::string> read_key(const std::string& source) {
  GENESIS_TRY(auto secrets, read_endpoint_secrets({.api_key_source = source}));
  return std::move(secrets.api_key);
}

TEST_F(ConfigTest, SecretsComeFromEnvironmentOrFile) {
  ::setenv("GENESIS_TEST_KEY", "sk-123\n", 1);
  EXPECT_EQ(*read_key("env:GENESIS_TEST_KEY"), "sk-123");
  ::unsetenv("GENESIS_TEST_KEY");
  EXPECT_FALSE(read_key("env:GENESIS_TEST_KEY"));
  ASSERT_TRUE(write_file_atomic(folder_ / "key", "sk-456\n"));
  EXPECT_EQ(*read_key("file:" + (folder_ / "key").string()), "sk-456");
  EXPECT_FALSE(read_key("file:" + (folder_ / "absent").string()));
  EXPECT_EQ(*read_key(""), "");
}

TEST_F(ConfigTest, ADatabaseUrlIsShownWithoutItsPassword) {
  const auto plain = load(
      "[ledger]\ndatabase_url = \"postgresql://gw@db:5433/genesis?sslmode=verify-full\"\n"
      "database_password = { env = \"DB_PASSWORD\" }\n");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->database_shown, "postgresql://gw@db:5433/genesis?sslmode=verify-full");
  EXPECT_EQ(plain->database_password_source, "env:DB_PASSWORD");
  expect_error("[ledger]\ndatabase_url = \"postgresql://gw:s3cret@db/g\"\n", "2", "env");
  expect_error("[ledger]\ndatabase_url = \"mysql://db/g\"\n", "2", "postgresql://");
  ::setenv("GENESIS_DB_URL", "postgresql://gw:s3cret@db/g", 1);
  const auto config = load("");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->database_url, "postgresql://gw:s3cret@db/g");
  for (const auto& [key, value] : config->origins) {
    EXPECT_FALSE(value.text.contains("s3cret")) << key;
  }
  EXPECT_EQ(config->origins.at("ledger.database_url").text, "postgresql://gw@db/g");
  ::setenv("GENESIS_DB_URL", "postgresql://gw:s3cret@db/g?s3cret=1", 1);
  const auto bad = load("");
  ASSERT_FALSE(bad);
  EXPECT_FALSE(bad.error().message.contains("s3cret")) << bad.error().message;
  ::unsetenv("GENESIS_DB_URL");
}

TEST(Nearest, FindsCloseWordsOnly) {
  EXPECT_EQ(nearest("lisen", {"listen", "path"}), "listen");
  EXPECT_EQ(nearest("zzzzzz", {"listen", "path"}), "");
}

std::string url_endpoint(const std::string& more) {
  return "[[endpoint]]\nname = \"a\"\nurl = \"http://h\"\nmodel = \"m\"\n" + more + "\n";
}

TEST_F(ConfigTest, EndpointsHaveADialectAndHeaders) {
  const auto config = load(url_endpoint(
      "dialect = \"anthropic\"\n"
      "headers = { anthropic-beta = \"a, b\", x-api-key = { env = \"GENESIS_TEST_KEY\" } }"));
  ASSERT_TRUE(config) << config.error().message;
  const EndpointConfig& endpoint = config->endpoints.at(0);
  EXPECT_EQ(endpoint.dialect, UpstreamDialect::kAnthropic);
  ASSERT_EQ(endpoint.headers.size(), 2U);
  EXPECT_EQ(endpoint.headers[0].name, "anthropic-beta");
  EXPECT_EQ(endpoint.headers[0].value, "a, b");
  EXPECT_EQ(endpoint.headers[1].source, "env:GENESIS_TEST_KEY");
  ::unsetenv("GENESIS_TEST_KEY");
  const auto unset = read_endpoint_secrets(endpoint);
  ASSERT_FALSE(unset);
  EXPECT_EQ(unset.error().param, "headers.x-api-key");
  ::setenv("GENESIS_TEST_KEY", "Bearer 1234", 1);
  const auto secrets = read_endpoint_secrets(endpoint);
  ::unsetenv("GENESIS_TEST_KEY");
  ASSERT_TRUE(secrets) << secrets.error().message;
  EXPECT_EQ(secrets->headers[1].second, "Bearer 1234");
  EXPECT_EQ(load(url_endpoint(""))->endpoints.at(0).dialect, UpstreamDialect::kOpenAi);
}

TEST_F(ConfigTest, RefusesHeadersAndDialectsThatCannotBe) {
  expect_error(url_endpoint("dialect = \"gemini\""), "5", "openai|anthropic|tgi|tei");
  expect_error(url_endpoint("headers = \"x\""), "5", "table");
  expect_error(url_endpoint("headers = { x = 1 }"), "5", "string");
  expect_error(url_endpoint("headers = { \"a b\" = \"x\" }"), "5", "name of a header");
  expect_error(url_endpoint("headers = { Host = \"x\" }"), "5", "genesis itself");
  expect_error(url_endpoint("headers = { x = \"a\\nb\" }"), "5", "visible");
  expect_error(url_endpoint("headers = { Authorization = \"Bearer x\" }"), "5", "env");
  expect_error(url_endpoint("headers = { x = { env = \"A\", file = \"b\" } }"), "5", "env");
  expect_error("[[endpoint]]\nname = \"l\"\nkind = \"local\"\ndialect = \"tgi\"\n", "4", "local");
  expect_error(
      "[[endpoint]]\nname = \"l\"\nkind = \"local\"\nheaders = { x = \"y\" }\n", "4", "local");
}

}  // namespace
}  // namespace genesis::app
