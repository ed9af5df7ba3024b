// One HTTP/1.1 connection of the mock upstream, on system calls with an event loop only for the
// waiting: independent of the code under test, and able to break the protocol on purpose.
#pragma once

#include "base/task.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace genesis::mock {

struct HttpRequest {
  std::string method;
  std::string path;
  std::string traceparent;
  std::string attempt;        // header x-genesis-attempt ("ID/N"), else x-request-id ("ID-N")
  std::string authorization;  // header authorization
  std::string api_key;        // header x-api-key
  std::string version;        // header anthropic-version
  std::string body;
};

// Owns one accepted socket. Lives on the io thread.
class Connection {
 public:
  explicit Connection(boost::asio::ip::tcp::socket socket);
  ~Connection();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False when the peer is gone or did not speak HTTP with a Content-Length.
  Task<bool> read_request(HttpRequest& request);
  // False when the peer is gone.
  Task<bool> send(std::string_view bytes);
  // As send(), one byte per write.
  Task<bool> send_split(std::string_view bytes);
  // Waits; false as soon as the peer closes or resets.
  Task<bool> wait_ms(int ms);
  // The close that follows is a reset instead of a normal end.
  void make_reset();

 private:
  // Outlives the connection by one turn of the event loop.
  struct State {
    explicit State(boost::asio::ip::tcp::socket accepted)
        : socket(std::move(accepted)), timer(socket.get_executor()) {}

    boost::asio::ip::tcp::socket socket;
    boost::asio::steady_timer timer;
    bool watched = false;  // a wait for the peer's end is under way
    bool gone = false;
  };

  static void watch(const std::shared_ptr<State>& state);
  Task<bool> fill();

  std::shared_ptr<State> state_;
  std::string buffer_;
};

std::string http_head(int status, std::string_view content_type, std::string_view more_fields);

}  // namespace genesis::mock
