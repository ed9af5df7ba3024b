// Headers, addresses and base URLs.
#include "net/http.h"

#include <gtest/gtest.h>

namespace genesis::net {
namespace {

TEST(Headers, CompareWithoutCase) {
  Headers headers;
  headers.add("A", "1");
  headers.add("b", "2");
  headers.add("a", "3");
  EXPECT_EQ(headers.get("a"), "1");
  headers.set("a", "4");
  EXPECT_EQ(headers.all().size(), 2U);
  EXPECT_EQ(headers.get("A"), "4");
  EXPECT_FALSE(headers.get("c"));
}

TEST(Address, ParsesAndPrints) {
  for (const std::string_view text :
       {"127.0.0.1:8080", "[::1]:0", "localhost:80", "unix:/run/x.sock"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
    EXPECT_TRUE(address->is_loopback()) << text;
  }
  for (const std::string_view text :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:2", "example.com:3", "127.0.0.1.x:4"}) {
    EXPECT_FALSE(parse_address(text)->is_loopback()) << text;
  }
  for (const std::string_view text : {"",
                                      "8080",
                                      "127.0.0.1",
                                      "h:",
                                      "h:65536",
                                      "h:-1",
                                      "h:1x",
                                      "::1:80",
                                      "[::1:80",
                                      "[x]:1",
                                      "h/:1",
                                      "unix:"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
  EXPECT_FALSE(parse_address("unix:/" + std::string(200, 'x')));
}

TEST(BaseUrl, ParsesOriginsAndPrefixes) {
  const auto api = parse_base_url("https://API.example.com/v1/");
  ASSERT_TRUE(api) << api.error().message;
  EXPECT_TRUE(api->tls);
  EXPECT_EQ(api->address.to_string(), "api.example.com:443");
  EXPECT_EQ(api->path, "/v1");
  EXPECT_EQ(api->host_header, "api.example.com");
  const auto local = parse_base_url("http://[::1]:8000");
  ASSERT_TRUE(local);
  EXPECT_EQ(local->host_header, "[::1]:8000");
  EXPECT_EQ(local->path, "");
  const auto socket = parse_base_url("unix:/run/e.sock:/v1");
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->address.unix_path, "/run/e.sock");
  EXPECT_EQ(socket->path, "/v1");
  EXPECT_EQ(parse_base_url("unix:/run/e.sock")->path, "");
  for (const std::string_view text : {"",
                                      "example.com",
                                      "ftp://x",
                                      "http://",
                                      "http://x:0",
                                      "http://x:99999",
                                      "http://x/?q",
                                      "http://x/#f",
                                      "http://x y",
                                      "unix:"}) {
    EXPECT_FALSE(parse_base_url(text)) << text;
  }
  const auto secret = parse_base_url("https://user:hunter2@host/");
  ASSERT_FALSE(secret);
  EXPECT_FALSE(secret.error().message.contains("hunter2"));
}

}  // namespace
}  // namespace genesis::net
