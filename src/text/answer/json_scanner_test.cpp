// The scanner takes what parse_json() takes as an object, and refuses at the first wrong byte.
#include "text/answer/json_scanner.h"

#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>

namespace genesis::text {
namespace {

bool scans(std::string_view text) {
  JsonScanner scanner;
  for (const char c : text) {
    if (!scanner.push(c)) {
      return false;
    }
  }
  return scanner.place() == JsonPlace::kEnd;
}

bool parses(std::string_view text) {
  const auto parsed = parse_json(text);
  return parsed.has_value() && parsed->is_object();
}

// A member's value each.
constexpr std::string_view kValues[] = {"0",
                                        "-0",
                                        "10",
                                        "01",
                                        "-",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1.5",
                                        "1e5",
                                        "1E+5",
                                        "1e-05",
                                        "1e",
                                        "1e+",
                                        "0e0",
                                        "00",
                                        "0x1",
                                        "1.5.5",
                                        "1e5e5",
                                        "--1",
                                        "true",
                                        "false",
                                        "null",
                                        "nul",
                                        "True",
                                        "truex",
                                        "tru e",
                                        R"("")",
                                        R"("a\n\"\\\/\b\f\r\t")",
                                        R"("\x")",
                                        R"("\u00e9")",
                                        R"("\u00g9")",
                                        R"("\u00E")",
                                        R"("\ud83d\ude00")",
                                        R"("\ud83d")",
                                        R"("\ude00")",
                                        R"("\ud83dx")",
                                        R"("\ud83d\n")",
                                        R"("\ud83d\u0041")",
                                        "\"\x01\"",
                                        "\"\x7f\"",
                                        "\"\t\"",
                                        "\"é東😀\"",
                                        "\"\xC3\"",
                                        "\"\xC0\x80\"",
                                        "\"\xED\xA0\x80\"",
                                        "\"\xF4\x90\x80\x80\"",
                                        "\"\xF5\"",
                                        "\"\x80\"",
                                        "\"\xE6\x9D\"",
                                        "[]",
                                        "[1]",
                                        "[1,]",
                                        "[,]",
                                        "[1 2]",
                                        "[[[]]]",
                                        "[}",
                                        "{}",
                                        R"({"a":1})",
                                        R"({"a":1,})",
                                        R"({a:1})",
                                        R"({"a"})",
                                        R"({"a":})",
                                        R"({"a" : [ 1 , { } ] })",
                                        R"({"a":1]})",
                                        "'a'",
                                        "",
                                        " ",
                                        "NaN",
                                        "1,2"};

TEST(JsonScanner, AgreesWithTheParser) {
  for (const std::string_view value : kValues) {
    for (const std::string& text : {R"({"k":)" + std::string(value) + "}",
                                    R"({ "k" : )" + std::string(value) + "\n, \"l\":2}",
                                    R"({"k":[)" + std::string(value) + "]}",
                                    R"({"k":1,)" + std::string(value) + ":2}"}) {
      EXPECT_EQ(scans(text), parses(text)) << text;
    }
  }
  for (const std::string_view text :
       {"{}", "{ }", "{,}", "[]", "{}}", "{} ", "{", "", "{\"a\":1 \"b\":2}"}) {
    EXPECT_EQ(scans(text), text == "{}" || text == "{ }") << text;
  }
}

TEST(JsonScanner, AgreesOnBrokenText) {
  const std::string good =
      R"({"a": [1, -2.5e+3, true, null, {"b\u00e9": "\ud83d\ude00\n"}], "東": {}, "c": "x"})";
  constexpr std::string_view kBytes = "{}[]:,\"\\u0d19eE+-. \ntfn\x01\xE6";
  std::mt19937 random(20261130);  // fixed: a failure prints its text
  for (int i = 0; i < 20'000; ++i) {
    std::string text = good;
    for (unsigned edits = 1 + random() % 2; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      const char byte = kBytes[random() % kBytes.size()];
      switch (random() % 3) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        default:
          text.erase(at, 1);
      }
    }
    // Behind its closing brace the scanner takes nothing, the parser white space.
    text.erase(text.find_last_not_of(" \n") + 1);
    text.erase(0, std::min(text.find_first_not_of(" \n"), text.size()));
    ASSERT_EQ(scans(text), parses(text)) << text;
  }
}

TEST(JsonScanner, BoundsDepth) {
  const auto nested = [](std::size_t depth) {
    return R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_TRUE(scans(nested(kMaxJsonDepth)));
  EXPECT_FALSE(scans(nested(kMaxJsonDepth + 1)));
  EXPECT_FALSE(scans(R"({"a":)" + std::string(1'000'000, '[')));
}

}  // namespace
}  // namespace genesis::text
