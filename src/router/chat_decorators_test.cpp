// Unit tests of the router's two decorators: the cap counts before the dispatch, and an agent's
// name is booked.
#include "router/agent_chat.h"
#include "router/capped_chat.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

namespace genesis::router {
namespace {

class NullSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy&) override { co_return Result<void>{}; }

  Task<Result<void>> write(const ChatDelta&) override { co_return Result<void>{}; }

  CancelToken cancel_token() const override { return {}; }
};

class Recorder final : public ChatModel {
 public:
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink&) override {
    seen.push_back(request);
    co_return Usage{};
  }

  std::vector<ChatRequest> seen;
};

Result<Usage> ask(ChatModel& model, const ChatRequest& request) {
  boost::asio::io_context io;
  NullSink sink;
  auto future = boost::asio::co_spawn(io, model.chat(request, sink), boost::asio::use_future);
  io.run();
  return future.get();
}

TEST(CappedChat, CountsDispatchesAndThenRefuses) {
  Recorder inner;
  ManualClock clock(0);
  const auto cap = std::make_shared<ShareCap>(
      ShareCapOptions{.max_share_ppm = 0, .window = std::chrono::hours(1), .min_requests = 2});
  CappedChat capped(inner, cap, clock);
  EXPECT_TRUE(ask(capped, {}));
  EXPECT_TRUE(ask(capped, {}));
  const auto refused = ask(capped, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(refused.error().retryable()) << "the next endpoint of the plan must be asked";
  EXPECT_TRUE(refused.error().retry_after);
  EXPECT_EQ(inner.seen.size(), 2U);
  clock.advance(std::chrono::hours(2));
  EXPECT_TRUE(ask(capped, {}));
}

TEST(AgentChat, BooksTheAgentThatModelNames) {
  Recorder inner;
  AgentChat named(inner, {{.name = "qa", .model = "auto", .task = "validation"}});
  EXPECT_TRUE(ask(named, {.route = "qa"}));
  EXPECT_TRUE(ask(named, {.route = "qa", .caller = {.agent = "builder", .task = "essay"}}));
  EXPECT_TRUE(ask(named, {.route = "auto"}));
  ASSERT_EQ(inner.seen.size(), 3U);
  EXPECT_EQ(inner.seen[0].caller.agent, "qa");
  EXPECT_EQ(inner.seen[0].caller.task, "validation");
  EXPECT_EQ(inner.seen[1].caller.agent, "builder");
  EXPECT_EQ(inner.seen[1].caller.task, "essay");
  EXPECT_EQ(inner.seen[2].caller.agent, "");
}

}  // namespace
}  // namespace genesis::router
