// The event-stream reader: WHATWG cases, bounds, and the property that any split gives the same
// events.
#include "net/sse.h"

#include <gtest/gtest.h>

#include <random>

namespace genesis::net {
namespace {

std::vector<std::string> read_all(SseReader& reader, const std::vector<std::string_view>& pieces) {
  std::vector<std::string> out;
  for (const std::string_view piece : pieces) {
    const auto events = reader.push(piece);
    if (!events) {
      out.emplace_back("error");
      return out;
    }
    for (const SseEvent& event : *events) {
      out.push_back(event.event + "|" + event.data);
    }
  }
  return out;
}

std::vector<std::string> read_text(std::string_view text) {
  SseReader reader;
  return read_all(reader, {text});
}

using Lines = std::vector<std::string>;

TEST(SseReader, FollowsTheStandard) {
  EXPECT_EQ(read_text("data: a\n\n"), (Lines{"|a"}));
  EXPECT_EQ(read_text("data:a\r\rdata:  b\r\n\r\n"), (Lines{"|a", "| b"}));
  EXPECT_EQ(read_text("\xEF\xBB\xBF"
                      "data: a\n\n"),
            (Lines{"|a"}));
  EXPECT_EQ(read_text("data: a\ndata: b\ndata\n\n"), (Lines{"|a\nb\n"}));
  EXPECT_EQ(read_text(": ping\n\nevent: x\nid: 7\nretry: 10\ndata: {}\n\n"), (Lines{"x|{}"}));
  EXPECT_EQ(read_text("event: x\n\ndata\n\n"), (Lines{"|"}));
  EXPECT_EQ(read_text("data: not ended\n"), (Lines{}));
  EXPECT_EQ(read_text(std::string_view("data: a\0b\n\n", 11)), (Lines{std::string("|a\0b", 4)}));
  EXPECT_EQ(read_text("\xEF\xBB\xBF\xEF\xBB\xBF"
                      "data: x\n\n"),
            (Lines{}))
      << "only the first byte order mark is dropped";
}

TEST(SseReader, KnowsWhetherAnEventIsOpen) {
  SseReader reader;
  EXPECT_FALSE(reader.has_partial_event());
  EXPECT_TRUE(reader.push("data: a"));
  EXPECT_TRUE(reader.has_partial_event());
  EXPECT_TRUE(reader.push("\n"));
  EXPECT_TRUE(reader.has_partial_event());
  EXPECT_TRUE(reader.push("\n"));
  EXPECT_FALSE(reader.has_partial_event());
}

TEST(SseReader, BoundsLinesAndEvents) {
  SseReader line(100);
  EXPECT_EQ(read_all(line, {std::string(101, 'x')}), (Lines{"error"}));
  EXPECT_FALSE(line.push("\n\ndata: a\n\n")) << "a failed stream stays failed";
  SseReader event(100);
  std::string many;
  for (int i = 0; i < 60; ++i) {
    many += "data: xx\n";
  }
  EXPECT_EQ(read_all(event, {many}), (Lines{"error"}));
  SseReader fits(100);
  EXPECT_EQ(read_all(fits, {"data: " + std::string(90, 'x') + "\n\n"}).size(), 1U);
}

TEST(SseReader, AnySplitGivesTheSameEvents) {
  const std::string text =
      "\xEF\xBB\xBF"
      "data: one\r\n\r\n: c\rdata: tw\xC3\xA9\rdata:\r\revent: e\ndata: {\"a\":1}\n\ndata: "
      "[DONE]\n\n";
  const Lines whole = read_text(text);
  ASSERT_EQ(whole.size(), 4U);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    SseReader reader;
    const std::string_view view = text;
    EXPECT_EQ(read_all(reader, {view.substr(0, cut), view.substr(cut)}), whole) << "cut at " << cut;
  }
  std::mt19937 random(20260101);
  for (int round = 0; round < 300; ++round) {
    std::string noise;
    for (int i = 0; i < 60; ++i) {
      static constexpr std::string_view kAlphabet = "\r\n\n: dataevnt\xEF\xBB\xBF{x";
      noise += random() % 4 == 0 ? std::string("data:")
                                 : std::string(1, kAlphabet[random() % kAlphabet.size()]);
    }
    const Lines expected = read_text(noise);
    SseReader reader;
    std::vector<std::string_view> pieces;
    for (std::string_view rest = noise; !rest.empty();) {
      const std::size_t n = std::min<std::size_t>(1 + random() % 5, rest.size());
      pieces.push_back(rest.substr(0, n));
      rest.remove_prefix(n);
    }
    EXPECT_EQ(read_all(reader, pieces), expected) << "seed 20260101, round " << round;
  }
}

TEST(SseFrame, ReadsBackAsItWasWritten) {
  EXPECT_EQ(sse_frame("{}"), "data: {}\n\n");
  for (const std::string_view text : {"", "a", "a\nb", "a\n\n", "\n", " lead"}) {
    EXPECT_EQ(read_text(sse_frame(text)), (Lines{"|" + std::string(text)}));
  }
  EXPECT_EQ(read_text(sse_frame("a\r\nb\rc")), (Lines{"|a\nb\nc"}));
}

}  // namespace
}  // namespace genesis::net
