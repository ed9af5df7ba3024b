// Shared by this room's tests: one io_context on which server, client and raw sockets all run.
#pragma once

#include "base/task.h"
#include "net/client.h"
#include "net/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::net {

class NetTest : public ::testing::Test {
 public:
  ~NetTest() override;

  // Runs the loop until `task` is over. A test that hangs aborts after a minute.
  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    boost::asio::co_spawn(io_, std::move(task), [&](std::exception_ptr failure, T value) {
      if (failure) {
        std::rethrow_exception(failure);
      }
      result = std::move(value);
    });
    spin([&] { return result.has_value(); });
    return std::move(*result);
  }

  void run(Task<void> task);
  // Turns the loop until the condition holds.
  void spin(const std::function<bool()>& done);
  // For coroutines that only ever wait for something to become true.
  Task<void> sleep(std::chrono::milliseconds time);
  Task<void> until(std::function<bool()> condition);

  void start(Handler handler, ServerLimits limits = {}, std::string_view at = "127.0.0.1:0");

  BaseUrl base(std::string_view path = "") const;
  ClientRequest get(std::string target) const;
  ClientRequest post(std::string target, std::string body) const;

  boost::asio::ip::tcp::socket open_raw();
  // Connects, sends, and reads until the server closes.
  Task<std::string> raw_exchange(std::string bytes);
  static Task<std::string> read_all(boost::asio::ip::tcp::socket& socket);
  static Task<void> send_raw(boost::asio::ip::tcp::socket& socket, std::string bytes);

  boost::asio::io_context io_{1};
  Address address_;
  std::unique_ptr<Server> server_;
};

// Answers with method, path, query and body, so that a test sees what arrived.
Task<void> echo(const ServerRequest& request, ResponseWriter& response);
std::string text_of(const Result<std::string>& result);
Task<Result<std::string>> fetch(Client& client, ClientRequest request);

}  // namespace genesis::net
