// Unit tests of replay and skip: what is new of an answer that was partly delivered already.
#include "endpoint/transcript.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <random>

namespace genesis::endpoint {
namespace {

ChatDelta text(std::string bytes) {
  ChatDelta delta;
  delta.text = std::move(bytes);
  return delta;
}

ChatDelta calls(std::string json) {
  ChatDelta delta;
  delta.tool_calls_json = std::move(json);
  return delta;
}

// The whole answer in pieces whose borders are drawn by `random`.
std::vector<ChatDelta> in_pieces(std::string_view reasoning,
                                 std::string_view answer,
                                 Random& random) {
  std::vector<ChatDelta> out;
  const auto cut = [&](std::string_view whole, std::string ChatDelta::* field) {
    while (!whole.empty()) {
      const std::size_t size = std::min<std::size_t>(whole.size(), 1 + random.below(9));
      ChatDelta delta;
      delta.*field = std::string(whole.substr(0, size));
      out.push_back(std::move(delta));
      whole.remove_prefix(size);
    }
  };
  cut(reasoning, &ChatDelta::reasoning);
  cut(answer, &ChatDelta::text);
  out.emplace_back().finish = FinishReason::kStop;
  return out;
}

TEST(Transcript, AnyCutAndAnyPiecesGiveTheSameWhole) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Random random(seed);
  const std::string reasoning = "first we count the agents, then the calls";
  const std::string answer = "The fleet answered every call before noon.";
  for (int round = 0; round < 2'000; ++round) {
    Transcript transcript(1, 1'000'000);
    std::string got_reasoning;
    std::string got;
    int finishes = 0;
    const auto deliver = [&](const ChatDelta& delta) {
      got_reasoning += delta.reasoning;
      got += delta.text;
      finishes += delta.finish ? 1 : 0;
    };
    const auto first = in_pieces(reasoning, answer, random);
    const std::size_t delivered = random.below(first.size() + 1);
    for (std::size_t i = 0; i < delivered; ++i) {
      transcript.add(first[i]);
      deliver(first[i]);
    }
    // A second attempt that is cut too, and a third that is whole.
    for (const bool whole : {false, true}) {
      const auto again = in_pieces(reasoning, answer, random);
      const std::size_t said = whole ? again.size() : random.below(again.size());
      Replay replay(transcript);
      for (std::size_t i = 0; i < said; ++i) {
        const auto fresh = replay.take(again[i]);
        ASSERT_TRUE(fresh);
        if (*fresh) {
          deliver(**fresh);
        }
      }
      EXPECT_TRUE(!whole || replay.caught_up());
    }
    ASSERT_EQ(got_reasoning, reasoning);
    ASSERT_EQ(got, answer);
    ASSERT_EQ(finishes, 1);
  }
}

TEST(Transcript, OneOtherByteIsADifference) {
  Transcript transcript(1, 1'000);
  transcript.add(text("one two"));
  Replay replay(transcript);
  EXPECT_TRUE(replay.take(text("one ")));
  EXPECT_FALSE(replay.take(text("tWo")));
}

TEST(Transcript, ReasoningIsNotText) {
  Transcript transcript(1, 1'000);
  transcript.add(text("one"));
  ChatDelta reasoning;
  reasoning.reasoning = "one";
  EXPECT_FALSE(Replay(transcript).take(reasoning));
}

TEST(Transcript, AnEndBeforeTheDeliveredPartIsADifference) {
  Transcript transcript(1, 1'000);
  transcript.add(text("one two"));
  ChatDelta last = text("one");
  last.finish = FinishReason::kStop;
  EXPECT_FALSE(Replay(transcript).take(last));
}

TEST(Transcript, ChoicesAreComparedEachForItself) {
  Transcript transcript(2, 1'000);
  ChatDelta second = text("B");
  second.index = 1;
  transcript.add(text("A"));
  transcript.add(second);
  Replay replay(transcript);
  second.text = "Bb";
  const auto fresh = replay.take(second);
  ASSERT_TRUE(fresh && *fresh);
  EXPECT_EQ((*fresh)->text, "b");
  EXPECT_EQ((*fresh)->index, 1);
  EXPECT_FALSE(replay.caught_up()) << "choice 0 has not been said again";
  ChatDelta third;
  third.index = 2;
  EXPECT_FALSE(replay.take(third));
}

TEST(Transcript, ToolCallsKeepTheIdsTheClientKnows) {
  Transcript transcript(1, 10'000);
  transcript.add(calls(R"([{"index":0,"id":"call_1","type":"function",)"
                       R"("function":{"name":"look","arguments":""}}])"));
  transcript.add(calls(R"([{"index":0,"function":{"arguments":"{\"a\":"}}])"));
  Replay replay(transcript);
  // Another id, other pieces, and a second call that is new.
  const auto head = replay.take(calls(R"([{"index":0,"id":"call_9","type":"function",)"
                                      R"("function":{"name":"look","arguments":"{"}}])"));
  ASSERT_TRUE(head);
  EXPECT_FALSE(*head);
  const auto rest = replay.take(calls(R"([{"index":0,"function":{"arguments":"\"a\":1}"}}])"));
  ASSERT_TRUE(rest && *rest);
  EXPECT_EQ((*rest)->tool_calls_json, R"([{"index":0,"function":{"arguments":"1}"}}])");
  const auto second = replay.take(calls(R"([{"index":1,"id":"call_10","type":"function",)"
                                        R"("function":{"name":"go","arguments":"{}"}}])"));
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->tool_calls_json,
            R"([{"index":1,"id":"call_10","type":"function",)"
            R"("function":{"name":"go","arguments":"{}"}}])");
}

TEST(Transcript, AnotherToolIsADifference) {
  Transcript transcript(1, 10'000);
  transcript.add(calls(R"([{"index":0,"id":"c","function":{"name":"look","arguments":""}}])"));
  EXPECT_FALSE(
      Replay(transcript)
          .take(calls(R"([{"index":0,"id":"c","function":{"name":"loop","arguments":""}}])")));
}

TEST(Transcript, WhatCannotBeComparedIsNotReplayed) {
  Transcript transcript(1, 10'000);
  transcript.add(calls(R"([{"index":0,"id":"c","type":"custom","custom":{"name":"x"}}])"));
  EXPECT_FALSE(transcript.replayable());
  Transcript large(1, 8);
  large.add(text("12345678"));
  EXPECT_TRUE(large.replayable());
  large.add(text("9"));
  EXPECT_FALSE(large.replayable());
}

TEST(Transcript, TokensAndRawJsonFollowTheText) {
  Transcript transcript(1, 10'000);
  ChatDelta first = text("one ");
  first.tokens = {{.id = 1, .text = "one "}};
  transcript.add(first);
  Replay replay(transcript);
  ChatDelta both = text("one two");
  both.tokens = {{.id = 1, .text = "one "}, {.id = 2, .text = "two"}};
  both.raw = R"({"id":"another"})";
  const auto fresh = replay.take(both);
  ASSERT_TRUE(fresh && *fresh);
  EXPECT_EQ((*fresh)->text, "two");
  ASSERT_EQ((*fresh)->tokens.size(), 1U);
  EXPECT_EQ((*fresh)->tokens[0].id, 2);
  EXPECT_TRUE((*fresh)->raw.empty());
}

}  // namespace
}  // namespace genesis::endpoint
