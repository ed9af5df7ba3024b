// Unit tests of the base room: JSON, cancellation, hashes, metrics, files.
#include "base/cancel.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/sha256.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <filesystem>

namespace genesis {
namespace {

TEST(Json, RefusesTrailingTextDepthAndBadUtf8) {
  EXPECT_TRUE(parse_json(R"({"a":[1,2,{"b":null}]})"));
  EXPECT_FALSE(parse_json("{} x"));
  EXPECT_FALSE(parse_json("{\"a\":\"\xff\"}"));
  EXPECT_FALSE(parse_json(""));
  EXPECT_FALSE(
      parse_json(std::string(kMaxJsonDepth + 2, '[') + std::string(kMaxJsonDepth + 2, ']')));
}

TEST(Json, WriterPlacesCommasAndEscapes) {
  JsonWriter w;
  w.begin_object();
  w.field("a", "x\"\n\x01");
  w.key("b");
  w.begin_array();
  w.integer(1);
  w.number(0.7);
  w.begin_object();
  w.end_object();
  w.end_array();
  w.field_null("c");
  w.end_object();
  EXPECT_EQ(w.str(), "{\"a\":\"x\\\"\\n\\u0001\",\"b\":[1,0.7,{}],\"c\":null}");
}

TEST(Json, WriterReplacesInvalidUtf8) {
  std::string out;
  append_json_string(out, "a\xF0\x9F\x98z\xE2\x82\xAC");
  EXPECT_TRUE(parse_json(out)) << out;
  EXPECT_NE(out.find("\xE2\x82\xAC"), std::string::npos);
}

// Every byte at every offset of the eight that are looked at together, against the parser.
TEST(Json, StringsOfAllBytesReadBack) {
  for (int byte = 1; byte < 0x80; ++byte) {
    for (std::size_t offset = 0; offset < 20; ++offset) {
      std::string text(20, 'a');
      text[offset] = static_cast<char>(byte);
      JsonWriter writer;
      writer.begin_object();
      writer.field("k", text);
      writer.field(text, "v");
      writer.end_object();
      const auto value = parse_json(writer.str());
      ASSERT_TRUE(value) << byte << " at " << offset;
      EXPECT_EQ(value->at("k").as_string(), text);
      const auto members = scan_members(writer.str());
      ASSERT_TRUE(members) << byte << " at " << offset;
      ASSERT_EQ(members->size(), 2U);
      EXPECT_EQ(members->at(1).key, text);
    }
  }
}

TEST(Json, MembersKeepRawBytes) {
  const auto members = scan_members(R"( {"a" : {"x":[1, "}"]} , "\u0062":1e5,"c":"q\"," } )");
  ASSERT_TRUE(members);
  ASSERT_EQ(members->size(), 3U);
  EXPECT_EQ((*members)[0].value, R"({"x":[1, "}"]})");
  EXPECT_EQ((*members)[1].key, "b");
  EXPECT_EQ((*members)[1].value, "1e5");
  EXPECT_EQ((*members)[2].value, R"("q\",")");
  EXPECT_FALSE(scan_members(R"({"a":1)"));
  EXPECT_FALSE(scan_members(R"([1])"));
  EXPECT_EQ(scan_items(R"( [1 , {"a":[",]"]},"x", [] ] )").value(),
            (std::vector<std::string_view>{"1", R"({"a":[",]"]})", R"("x")", "[]"}));
  EXPECT_TRUE(scan_items("[ ]").value().empty());
  EXPECT_FALSE(scan_items("[1"));
  EXPECT_FALSE(scan_items("{}"));
}

TEST(Json, TypedAccessNamesTheField) {
  const auto value = parse_json(R"({"n":1.5,"s":"t","i":7,"b":true,"z":null})");
  ASSERT_TRUE(value);
  const auto& object = value->as_object();
  EXPECT_EQ(**get_string(object, "s"), "t");
  EXPECT_EQ(**get_integer(object, "i"), 7);
  EXPECT_EQ(*get_string(object, "z"), std::nullopt);
  const auto wrong = get_integer(object, "n", "messages[2].");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().param, "messages[2].n");
}

TEST(Cancel, HooksRunOnceAndCanBeDropped) {
  CancelSource source;
  int calls = 0;
  CancelHook kept = source.token().on_cancel([&] { ++calls; });
  CancelHook dropped = source.token().on_cancel([&] { calls += 100; });
  dropped.reset();
  source.cancel();
  source.cancel();
  EXPECT_EQ(calls, 1);
  CancelHook late = source.token().on_cancel([&] { ++calls; });
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(CancelToken().cancelled());
}

TEST(Sha256, MatchesKnownAnswers) {
  // FIPS 180-4 example "abc"; RFC 4231 test case 2.
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Metrics, ExposesCumulativeBuckets) {
  MetricsRegistry registry;
  registry.counter("c_total", "Count.", prometheus_label("k", "a\"b")).add(2);
  auto& h = registry.histogram("h", "Histogram.", {1.0, 2.0});
  h.observe(0.5);
  h.observe(1.5);
  h.observe(9);
  const std::string text = registry.expose();
  EXPECT_NE(text.find("c_total{k=\"a\\\"b\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("h_bucket{le=\"2\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("h_bucket{le=\"+Inf\"} 3\n"), std::string::npos) << text;
}

TEST(File, AtomicWriteThenLimitedRead) {
  const auto path = std::filesystem::temp_directory_path() / new_id("genesis-file-");
  ASSERT_TRUE(write_file_atomic(path, "hello", 0600));
  EXPECT_EQ(*read_file(path, 5), "hello");
  const auto too_big = read_file(path, 4);
  ASSERT_FALSE(too_big);
  EXPECT_EQ(too_big.error().code, ErrorCode::kPayloadTooLarge);
  EXPECT_EQ(MappedFile::open(path)->bytes().size(), 5U);
  std::filesystem::remove(path);
  EXPECT_EQ(read_file(path, 4).error().code, ErrorCode::kNotFound);
}

TEST(Clock, FormatsRfc3339) {
  EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(1795399308123), "2026-11-23T02:01:48.123Z");
}

}  // namespace
}  // namespace genesis
