// System calls that never block; the event loop waits where they would have.
#include "socket.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <sys/socket.h>

namespace genesis::mock {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto kWait = asio::as_tuple(asio::use_awaitable);
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
    case 413:
      return "Payload Too Large";
    case 422:
      return "Unprocessable Entity";
    case 429:
      return "Too Many Requests";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

// What recv() says. Here and not in the coroutine, whose frame would keep the buffer while it
// waits.
ssize_t receive(int fd, std::string& into) {
  std::array<char, 16 * 1024>
      chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  const auto got = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
  into.append(chunk.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return got;
}

}  // namespace

Connection::Connection(tcp::socket socket) : state_(std::make_shared<State>(std::move(socket))) {}

Connection::~Connection() {
  boost::system::error_code ignored;
  state_->socket.close(ignored);
  state_->timer.cancel();
}

Task<bool> Connection::fill() {
  for (;;) {
    const auto got = receive(state_->socket.native_handle(), buffer_);
    if (got > 0) {
      co_return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      co_return false;
    }
    const auto [error] = co_await state_->socket.async_wait(tcp::socket::wait_read, kWait);
    if (error) {
      co_return false;
    }
  }
}

Task<bool> Connection::read_request(HttpRequest& request) {
  std::size_t head_end = 0;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (buffer_.size() > kMaxHead || !co_await fill()) {
      co_return false;
    }
  }
  const std::string head = buffer_.substr(0, head_end + 2);
  buffer_.erase(0, head_end + 4);
  request = HttpRequest();
  const auto method_end = head.find(' ');
  const auto path_end = head.find(' ', method_end + 1);
  if (path_end == std::string::npos) {
    co_return false;
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
      co_return false;
    }
    const auto name = lower(line.substr(0, colon));
    auto value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    if (name == "content-length") {
      std::from_chars(value.data(), value.data() + value.size(), length);
    } else if (name == "traceparent") {
      request.traceparent = value;
    } else if (name == "x-genesis-attempt") {
      request.attempt = value;
    } else if (name == "x-request-id" && request.attempt.empty()) {
      request.attempt = value;
      if (const auto dash = request.attempt.rfind('-'); dash != std::string::npos) {
        request.attempt[dash] = '/';
      }
    } else if (name == "authorization") {
      request.authorization = value;
    } else if (name == "x-api-key") {
      request.api_key = value;
    } else if (name == "anthropic-version") {
      request.version = value;
    } else if (name == "transfer-encoding") {
      co_return false;  // nobody needs it towards this server
    }
  }
  if (length > kMaxBody) {
    co_return false;
  }
  while (buffer_.size() < length) {
    if (!co_await fill()) {
      co_return false;
    }
  }
  request.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  co_return true;
}

Task<bool> Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(
        state_->socket.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) {
      co_return false;
    }
    const auto [error] = co_await state_->socket.async_wait(tcp::socket::wait_write, kWait);
    if (error) {
      co_return false;
    }
  }
  co_return true;
}

Task<bool> Connection::send_split(std::string_view bytes) {
  for (const char& byte : bytes) {
    if (!co_await send({&byte, 1})) {
      co_return false;
    }
  }
  co_return true;
}

// Notices the peer's end while nothing is read. Bytes of a next request end the watching.
void Connection::watch(const std::shared_ptr<State>& state) {
  if (state->watched) {
    return;
  }
  state->watched = true;
  state->socket.async_wait(tcp::socket::wait_read, [state](boost::system::error_code error) {
    state->watched = false;
    char byte = 0;
    const auto got =
        error ? 0 : ::recv(state->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
      state->gone = true;
      state->timer.cancel();
    }
  });
}

Task<bool> Connection::wait_ms(int ms) {
  watch(state_);
  if (!state_->gone) {
    state_->timer.expires_after(std::chrono::milliseconds(ms));
    co_await state_->timer.async_wait(kWait);
  }
  co_return !state_->gone;
}

void Connection::make_reset() {
  boost::system::error_code ignored;
  state_->socket.set_option(boost::asio::socket_base::linger(true, 0), ignored);
}

std::string http_head(int status, std::string_view content_type, std::string_view more_fields) {
  std::string head =
      "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason(status)) + "\r\n";
  head += "content-type: " + std::string(content_type) + "\r\n";
  head += more_fields;
  return head + "\r\n";
}

}  // namespace genesis::mock
