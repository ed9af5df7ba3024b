// A blocking HTTP/1.1 connection of the mock upstream, on plain POSIX sockets: independent of the
// code under test, and able to break the protocol on purpose.
#pragma once

#include <string>
#include <string_view>

namespace genesis::mock {

struct HttpRequest {
  std::string method;
  std::string path;
  std::string attempt;        // header x-genesis-attempt ("ID/N"), else x-request-id ("ID-N")
  std::string authorization;  // header authorization
  std::string body;
};

// Owns one accepted socket. Used by one thread.
class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // False when the peer is gone or did not speak HTTP with a Content-Length.
  bool read_request(HttpRequest& request);
  // False when the peer is gone.
  bool send(std::string_view bytes);
  // As send(), one byte per write.
  bool send_split(std::string_view bytes);
  // Waits; false as soon as the peer closes or resets.
  bool wait_ms(int ms);
  // The close that follows is a reset instead of a normal end.
  void make_reset();

 private:
  bool fill();

  int fd_;
  std::string buffer_;
};

std::string http_head(int status, std::string_view content_type, std::string_view more_fields);

}  // namespace genesis::mock
