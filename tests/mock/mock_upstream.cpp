// mock_upstream: an OpenAI-compatible server that misbehaves on request and keeps its own books.
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

#include <arpa/inet.h>
#include <bit>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace genesis::mock {
namespace {

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
  std::printf("{\"event\":\"ready\",\"url\":\"http://%s:%u\",\"pid\":%d}\n",
              arguments.host.c_str(),
              port,
              ::getpid());
  std::fflush(stdout);
  while (true) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      continue;  // out of descriptors or an aborted connection: the next may do
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([&mock, fd] { Exchange(mock, fd).run(); }).detach();
  }
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
