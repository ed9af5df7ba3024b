// The document and the router table are the same list.
#include "server/openapi.h"

#include "base/json.h"
#include "server/server_fixture.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <set>

namespace genesis::server {
namespace {

std::set<std::string> operations(const boost::json::object& document) {
  std::set<std::string> found;
  for (const auto& [path, methods] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : methods.as_object()) {
      std::string name(method);
      for (char& c : name) {
        c = static_cast<char>(c - 'a' + 'A');
      }
      found.insert(name + " " + std::string(path));
    }
  }
  return found;
}

TEST(OpenApi, HasEveryRouteOfTheTableAndNoOther) {
  World world({.allowed_hosts = {"127.0.0.1"}});
  const auto response = world.call(make_request("GET", "/openapi.json", ""));
  ASSERT_EQ(response->status, 200);
  const auto document = parse_json(response->body);
  ASSERT_TRUE(document) << document.error().message;
  std::set<std::string> table;
  for (const RouteRow& row : world.gateway->routes()) {
    table.insert(std::string(row.method) + " " + std::string(row.path));
  }
  EXPECT_EQ(operations(document->as_object()), table);
}

TEST(OpenApi, OnlyThePublicListNeedsNoKey) {
  World world({});
  const auto document = parse_json(openapi_json(world.gateway->routes(), "1"));
  ASSERT_TRUE(document);
  std::set<std::string> open;
  for (const auto& [path, methods] : document->at("paths").as_object()) {
    for (const auto& [method, operation] : methods.as_object()) {
      if (operation.at("security").as_array().empty()) {
        open.insert(std::string(path));
      }
    }
  }
  EXPECT_EQ(open, (std::set<std::string>{"/health", "/ping", "/ready"}));
}

}  // namespace
}  // namespace genesis::server
