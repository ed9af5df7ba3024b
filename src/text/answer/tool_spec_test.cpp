// `tools` and `tool_choice` as clients send them, and each way to get them wrong.
#include "text/answer/tool_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace genesis::text {
namespace {

using testing::HasSubstr;

std::string tool(const std::string& function) {
  return R"({"type":"function","function":)" + function + "}";
}

// The field that the error names.
std::string bad_tools(const std::string& tools) {
  const auto parsed = parse_tools(tools);
  EXPECT_FALSE(parsed.has_value()) << tools;
  if (parsed) {
    return "";
  }
  EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(parsed.error().message, HasSubstr("'" + parsed.error().param));
  return parsed.error().param;
}

TEST(ToolSpec, Reads) {
  const std::string one =
      R"({"type": "function", "function": {"name": "a.b-c_1", "description": "d", "strict": true,)"
      R"( "parameters": { "type": "object", "x": 1.0 }}})";
  const auto tools =
      parse_tools("[" + one + ",\n" + tool(R"({"name":"f","parameters":null})") + "]");
  ASSERT_TRUE(tools.has_value());
  ASSERT_EQ(tools->size(), 2U);
  EXPECT_EQ((*tools)[0].name, "a.b-c_1");
  EXPECT_EQ((*tools)[0].parameters_json, R"({ "type": "object", "x": 1.0 })") << "byte for byte";
  EXPECT_TRUE((*tools)[0].strict);
  EXPECT_EQ((*tools)[0].json, one);
  EXPECT_EQ((*tools)[1].parameters_json, "");
  EXPECT_FALSE((*tools)[1].strict);
  EXPECT_TRUE(parse_tools("").value().empty());
  EXPECT_TRUE(parse_tools("[]").value().empty());
  EXPECT_EQ(tool_names(*tools), (std::vector<std::string>{"a.b-c_1", "f"}));
}

TEST(ToolSpec, NamesWhatIsWrong) {
  EXPECT_EQ(bad_tools("{"), "tools");
  EXPECT_EQ(bad_tools("{}"), "tools");
  EXPECT_EQ(bad_tools("[1]"), "tools[0]");
  EXPECT_EQ(bad_tools(R"([{"type":"web_search"}])"), "tools[0].type");
  EXPECT_EQ(bad_tools(R"([{"type":3}])"), "tools[0].type");
  EXPECT_EQ(bad_tools(R"([{"type":"function"}])"), "tools[0].function");
  EXPECT_EQ(bad_tools(R"([{"type":"function","function":[]}])"), "tools[0].function");
  EXPECT_EQ(bad_tools("[" + tool("{}") + "]"), "tools[0].function.name");
  EXPECT_EQ(bad_tools("[" + tool(R"({"name":7})") + "]"), "tools[0].function.name");
  for (const std::string& name : {std::string(),
                                  std::string("a b"),
                                  std::string("a\\\"b"),
                                  std::string("é"),
                                  std::string(65, 'a')}) {
    EXPECT_EQ(
        bad_tools("[" + tool(R"({"name":"ok"})") + "," + tool(R"({"name":")" + name + "\"}") + "]"),
        "tools[1].function.name");
  }
  EXPECT_EQ(bad_tools("[" + tool(R"({"name":"a"})") + "," + tool(R"({"name":"a"})") + "]"),
            "tools[1].function.name");
  EXPECT_EQ(bad_tools("[" + tool(R"({"name":"a","parameters":[]})") + "]"),
            "tools[0].function.parameters");
  EXPECT_EQ(bad_tools("[" + tool(R"({"name":"a","strict":"yes"})") + "]"),
            "tools[0].function.strict");
  EXPECT_EQ(bad_tools("[" + tool(R"({"name":"a","description":1})") + "]"),
            "tools[0].function.description");
  std::string many = "[";
  for (std::size_t i = 0; i <= kMostTools; ++i) {
    many += (i > 0 ? "," : "") + tool("{\"name\":\"t" + std::to_string(i) + "\"}");
  }
  EXPECT_EQ(bad_tools(many + "]"), "tools");
  EXPECT_EQ(bad_tools(std::string(kMostToolsBytes + 1, ' ')), "tools");
}

TEST(ToolChoice, Reads) {
  using Kind = ToolChoice::Kind;
  const std::vector<ToolSpec> tools = parse_tools("[" + tool(R"({"name":"f"})") + "]").value();
  EXPECT_EQ(parse_tool_choice("", tools)->kind, Kind::kAuto);
  EXPECT_EQ(parse_tool_choice("null", tools)->kind, Kind::kAuto);
  EXPECT_EQ(parse_tool_choice("", {})->kind, Kind::kNone);
  EXPECT_EQ(parse_tool_choice(R"("auto")", {})->kind, Kind::kNone);
  EXPECT_EQ(parse_tool_choice(R"("none")", tools)->kind, Kind::kNone);
  EXPECT_EQ(parse_tool_choice(R"("required")", tools)->kind, Kind::kRequired);
  const auto named = parse_tool_choice(R"({"type": "function", "function": {"name": "f"}})", tools);
  EXPECT_EQ(named->kind, Kind::kNamed);
  EXPECT_EQ(named->name, "f");
}

TEST(ToolChoice, NamesWhatIsWrong) {
  const std::vector<ToolSpec> tools = parse_tools("[" + tool(R"({"name":"f"})") + "]").value();
  const auto field = [&tools](std::string_view choice) {
    const auto parsed = parse_tool_choice(choice, tools);
    return parsed ? "accepted" : parsed.error().param;
  };
  EXPECT_EQ(field("{"), "tool_choice");
  EXPECT_EQ(field("3"), "tool_choice");
  EXPECT_EQ(field(R"("sometimes")"), "tool_choice");
  EXPECT_EQ(field(R"({"type":"allowed_tools"})"), "tool_choice.type");
  EXPECT_EQ(field(R"({"type":"function"})"), "tool_choice.function");
  EXPECT_EQ(field(R"({"type":"function","function":{}})"), "tool_choice.function.name");
  EXPECT_EQ(field(R"({"type":"function","function":{"name":"g"}})"), "tool_choice.function.name");
  EXPECT_EQ(parse_tool_choice(R"("required")", {}).error().param, "tool_choice");
}

}  // namespace
}  // namespace genesis::text
