// Unit tests of child processes: exit status, signals, and nobody left behind.
#include "app/child_process.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <optional>
#include <signal.h>
#include <unistd.h>

namespace genesis::app {
namespace {

ChildExit run(ChildProcess& child, boost::asio::io_context& io) {
  std::optional<ChildExit> exit;
  boost::asio::co_spawn(
      io, [&]() -> Task<void> { exit = co_await child.wait(); }, boost::asio::detached);
  io.run();
  io.restart();
  return *exit;
}

TEST(ChildProcess, TellsTheExitStatus) {
  boost::asio::io_context io;
  auto child =
      ChildProcess::start(io.get_executor(), {.program = "/bin/sh", .arguments = {"-c", "exit 7"}});
  ASSERT_TRUE(child);
  EXPECT_EQ(run(**child, io).code, 7);
}

TEST(ChildProcess, TellsTheSignal) {
  boost::asio::io_context io;
  auto child =
      ChildProcess::start(io.get_executor(), {.program = "/bin/sleep", .arguments = {"600"}});
  ASSERT_TRUE(child);
  (*child)->send_signal(SIGKILL);
  EXPECT_EQ(run(**child, io).signal, SIGKILL);
}

TEST(ChildProcess, AProgramThatCannotStartExitsWith127) {
  boost::asio::io_context io;
  auto child = ChildProcess::start(io.get_executor(), {.program = "/nonexistent/program"});
  ASSERT_TRUE(child);
  EXPECT_EQ(run(**child, io).code, 127);
}

TEST(ChildProcess, DroppingItKillsTheChild) {
  boost::asio::io_context io;
  pid_t pid = 0;
  {
    auto child =
        ChildProcess::start(io.get_executor(), {.program = "/bin/sleep", .arguments = {"600"}});
    ASSERT_TRUE(child);
    pid = (*child)->pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(ChildProcess, InheritsNoDescriptorBeyondStandardError) {
  boost::asio::io_context io;
  const int extra = ::dup(2);
  auto child =
      ChildProcess::start(io.get_executor(),
                          {.program = "/bin/sh",
                           .arguments = {"-c", "test ! -e /proc/$$/fd/" + std::to_string(extra)}});
  ASSERT_TRUE(child);
  EXPECT_EQ(run(**child, io).code, 0);
  ::close(extra);
}

}  // namespace
}  // namespace genesis::app
