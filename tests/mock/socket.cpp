// Blocking sockets: one thread per connection is plenty for tests and for the bench's 64
// connections.
#include "socket.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace genesis::mock {

namespace {

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::size_t kMaxBody = 64 * 1024 * 1024;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(
      out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 429:
      return "Too Many Requests";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

}  // namespace

Connection::~Connection() {
  ::close(fd_);
}

bool Connection::fill() {
  std::array<char, 16 * 1024> chunk{};
  const auto got = ::recv(fd_, chunk.data(), chunk.size(), 0);
  if (got <= 0) {
    return false;
  }
  buffer_.append(chunk.data(), static_cast<std::size_t>(got));
  return true;
}

bool Connection::read_request(HttpRequest& request) {
  std::size_t head_end = 0;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (buffer_.size() > kMaxHead || !fill()) {
      return false;
    }
  }
  const std::string head = buffer_.substr(0, head_end + 2);
  buffer_.erase(0, head_end + 4);
  request = HttpRequest();
  const auto method_end = head.find(' ');
  const auto path_end = head.find(' ', method_end + 1);
  if (path_end == std::string::npos) {
    return false;
  }
  request.method = head.substr(0, method_end);
  request.path = head.substr(method_end + 1, path_end - method_end - 1);
  std::size_t length = 0;
  for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
    const auto end = head.find("\r\n", at);
    const auto line = std::string_view(head).substr(at, end - at);
    at = end + 2;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) {
      return false;
    }
    const auto name = lower(line.substr(0, colon));
    auto value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    if (name == "content-length") {
      std::from_chars(value.data(), value.data() + value.size(), length);
    } else if (name == "x-genesis-attempt") {
      request.attempt = value;
    } else if (name == "x-request-id" && request.attempt.empty()) {
      request.attempt = value;
      if (const auto dash = request.attempt.rfind('-'); dash != std::string::npos) {
        request.attempt[dash] = '/';
      }
    } else if (name == "authorization") {
      request.authorization = value;
    } else if (name == "transfer-encoding") {
      return false;  // nobody needs it towards this server
    }
  }
  if (length > kMaxBody) {
    return false;
  }
  while (buffer_.size() < length) {
    if (!fill()) {
      return false;
    }
  }
  request.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return true;
}

bool Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool Connection::send_split(std::string_view bytes) {
  return std::ranges::all_of(bytes, [this](const char& byte) { return send({&byte, 1}); });
}

bool Connection::wait_ms(int ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd poller{fd_, POLLRDHUP, 0};
    const int ready = ::poll(&poller, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) {
      return false;
    }
    if (left.count() <= 0) {
      return true;
    }
  }
}

void Connection::make_reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

std::string http_head(int status, std::string_view content_type, std::string_view more_fields) {
  std::string head =
      "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason(status)) + "\r\n";
  head += "content-type: " + std::string(content_type) + "\r\n";
  head += more_fields;
  return head + "\r\n";
}

}  // namespace genesis::mock
