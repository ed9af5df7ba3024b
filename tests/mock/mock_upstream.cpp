// mock_upstream: a server of OpenAI's, Anthropic's, TGI's and TEI's dialects that misbehaves on
// request and keeps its own books. One thread, an event loop.
// Used by the black-box tests as a paid provider and by the benches as the thing behind the
// gateway.
//
//   mock_upstream [--listen 127.0.0.1:PORT] [--journal FILE] [--fsync] [--words N]
//                 [--first-token-ms N] [--between-ms N] [--api-key KEY]
//
// Prints one JSON line {"event":"ready","url":...,"pid":...} when it accepts. POST /__script adds
// faults (script.h), POST /__reset forgets them, GET /__journal gives the journal, GET /__stats
// counts.
#include "exchange.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <arpa/inet.h>
#include <bit>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace genesis::mock {
namespace {

using boost::asio::ip::tcp;

struct Arguments {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string journal;
  bool sync = false;
  MockOptions mock;
};

template <typename T>
bool read_number(std::string_view text, T& out) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto read = std::from_chars(begin, end, out);
  return read.ec == std::errc() && read.ptr == end;
}

bool read_listen(std::string_view text, Arguments& out) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return false;
  }
  out.host = text.substr(0, colon);
  return read_number(text.substr(colon + 1), out.port);
}

bool read_option(std::string_view name, std::string_view value, Arguments& out) {
  if (name == "--listen") {
    return read_listen(value, out);
  }
  if (name == "--journal") {
    out.journal = value;
    return true;
  }
  if (name == "--api-key") {
    out.mock.api_key = value;
    return true;
  }
  if (name == "--words") {
    return read_number(value, out.mock.words);
  }
  if (name == "--first-token-ms") {
    return read_number(value, out.mock.first_token_ms);
  }
  return name == "--between-ms" && read_number(value, out.mock.between_ms);
}

bool read_arguments(int count, char** values, Arguments& out) {
  for (int i = 1; i < count; ++i) {
    const std::string_view name = values[i];
    if (name == "--fsync") {
      out.sync = true;
    } else if (i + 1 == count || !read_option(name, values[++i], out)) {
      std::fprintf(stderr, "mock_upstream: bad option near '%s'\n", values[i]);
      return false;
    }
  }
  return true;
}

// The listening socket, or -1 with a message on stderr. `port` becomes the one in use.
int listen_on(const std::string& host, std::uint16_t& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  socklen_t size = sizeof address;
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
      ::bind(fd, std::bit_cast<const sockaddr*>(&address), size) != 0 || ::listen(fd, 4096) != 0 ||
      ::getsockname(fd, std::bit_cast<sockaddr*>(&address), &size) != 0) {
    std::fprintf(stderr,
                 "mock_upstream: cannot listen on %s:%u: %s\n",
                 host.c_str(),
                 port,
                 std::strerror(errno));
    ::close(fd);
    return -1;
  }
  port = ntohs(address.sin_port);
  return fd;
}

// Thousands of open streams need as many descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

Task<void> serve(Mock& mock, tcp::socket socket) {
  Exchange exchange(mock, std::move(socket));
  co_await exchange.run();
}

Task<void> accept_all(Mock& mock, int listener) {
  const Executor executor = co_await boost::asio::this_coro::executor;
  tcp::acceptor acceptor(executor, tcp::v4(), listener);
  for (;;) {
    auto [error, socket] =
        co_await acceptor.async_accept(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (error) {
      // Out of descriptors or an aborted connection: the next may do.
      boost::asio::steady_timer pause(executor, std::chrono::milliseconds(10));
      co_await pause.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      continue;
    }
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    boost::asio::co_spawn(executor, serve(mock, std::move(socket)), boost::asio::detached);
  }
}

int run(const Arguments& arguments) {
  Mock mock;
  mock.options = arguments.mock;
  if (!arguments.journal.empty()) {
    if (const auto opened = Journal::open(mock.journal, arguments.journal, arguments.sync);
        !opened) {
      std::fprintf(stderr, "mock_upstream: %s\n", opened.error().message.c_str());
      return 1;
    }
  }
  std::uint16_t port = arguments.port;
  const int listener = listen_on(arguments.host, port);
  if (listener < 0) {
    return 1;
  }
  raise_descriptor_limit();
  std::printf("{\"event\":\"ready\",\"url\":\"http://%s:%u\",\"pid\":%d}\n",
              arguments.host.c_str(),
              port,
              ::getpid());
  std::fflush(stdout);
  boost::asio::io_context io(1);
  boost::asio::co_spawn(io, accept_all(mock, listener), boost::asio::detached);
  io.run();
  return 0;
}

}  // namespace
}  // namespace genesis::mock

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  genesis::mock::Arguments arguments;
  if (!genesis::mock::read_arguments(argc, argv, arguments)) {
    return 2;
  }
  return genesis::mock::run(arguments);
}
