#include "net/server.h"

#include "base/json.h"
#include "base/log.h"
#include "net/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace genesis::net {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// Pause after an accept that failed for want of descriptors or memory, so that the loop does not
// spin.
constexpr milliseconds kAcceptPause{100};
// After drain() has closed what was left: time for the handlers to notice.
constexpr milliseconds kAfterClose{1'000};
// Bytes the kernel may hold unsent for one client (tcp(7), TCP_NOTSENT_LOWAT): a slow reader pauses
// its producer after about so much instead of after megabytes of autotuned buffer.
constexpr int kUnsentBytes = 64 * 1024;

// Largest piece taken from a socket at once.
constexpr std::size_t kReadBytes = 64 * 1024;

std::unexpected<Error> listen_error(const Address& address, const error_code& error) {
  return fail(ErrorCode::kIo,
              fmt::format("cannot listen on {}: {}", address.to_string(), error.message()),
              "choose another address or stop the process that holds it");
}

std::string default_refusal(int, std::string_view message, std::string_view) {
  JsonWriter json;
  json.begin_object();
  json.key("error");
  json.begin_object();
  json.field("message", message);
  json.end_object();
  json.end_object();
  return json.take();
}

std::string peer_name(const tcp::socket& socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) {
    return "unknown";
  }
  Address address;
  address.host = endpoint.address().to_string();
  address.port = endpoint.port();
  return address.to_string();
}

std::string peer_name(const stream_protocol::socket&) {
  return "unix";
}

void prepare(tcp::socket& socket) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const int limit = kUnsentBytes;
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof(limit));
}

void prepare(stream_protocol::socket&) {}

// Removes a socket file nobody listens on; anything else in its place is left alone.
Result<void> remove_stale_socket(const Executor& executor, const Address& address) {
  struct stat info{};
  if (::lstat(address.unix_path.c_str(), &info) != 0) {
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::kIo,
                fmt::format("cannot listen on {}: a file that is not a socket is in the way",
                            address.to_string()));
  }
  stream_protocol::socket probe(executor);
  error_code error;
  probe.connect(stream_protocol::endpoint(address.unix_path), error);
  if (!error) {
    return listen_error(address, asio::error::address_in_use);
  }
  ::unlink(address.unix_path.c_str());
  return {};
}

// Closing one connection may end another, so work on a list that keeps them alive.
std::vector<std::shared_ptr<Connection>> connections_of(const ServerCore& core) {
  std::vector<std::shared_ptr<Connection>> list;
  for (Connection* connection : core.connections) {
    list.push_back(connection->shared_from_this());
  }
  return list;
}

// Keeps the connection alive from before the coroutine's first step.
Task<void> run_connection(std::shared_ptr<Connection> connection) {
  co_await connection->run();
}

Task<void> wait_until_quiet(std::shared_ptr<ServerCore> core, SteadyTime end) {
  while (core->active_requests > 0 && steady_clock::now() < end) {
    co_await core->request_done.wait_until(end);
  }
}

}  // namespace

ServerCore::ServerCore(Executor executor_in,
                       Handler handler_in,
                       ServerLimits limits_in,
                       RefusalBody refusal_in)
    : executor(std::move(executor_in)),
      handler(std::move(handler_in)),
      limits(limits_in),
      refusal_body(refusal_in ? std::move(refusal_in) : RefusalBody(default_refusal)),
      request_done(executor),
      scratch(kReadBytes) {}

// The listeners and the accept loops. Owned by Server and by its own coroutines.
struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  explicit Impl(std::shared_ptr<ServerCore> core_in) : core(std::move(core_in)) {}

  template <typename Protocol>
  using Acceptor = asio::basic_socket_acceptor<Protocol, Executor>;

  template <typename Protocol>
  static Task<void> accept_loop(std::shared_ptr<Impl> self,
                                std::shared_ptr<Acceptor<Protocol>> acceptor);
  void serve(Connection::Socket socket, std::string peer, bool is_unix);
  Result<Address> listen_tcp(Address address);
  Result<Address> listen_unix(const Address& address);
  void stop_accepting();

  std::shared_ptr<ServerCore> core;
  std::vector<std::shared_ptr<Acceptor<tcp>>> tcp_acceptors;
  std::vector<std::shared_ptr<Acceptor<stream_protocol>>> unix_acceptors;
  std::vector<std::string> unix_paths;
};

template <typename Protocol>
Task<void> Server::Impl::accept_loop(std::shared_ptr<Impl> self,
                                     std::shared_ptr<Acceptor<Protocol>> acceptor) {
  const Executor executor = self->core->executor;
  asio::steady_timer pause(executor);
  while (acceptor->is_open()) {
    typename Protocol::socket socket(executor);
    const auto accepted = co_await acceptor->async_accept(socket, kAwait);
    const error_code error = std::get<0>(accepted);
    if (!acceptor->is_open()) {
      break;
    }
    if (error) {
      log(LogLevel::kWarn, "accept failed", {{"why", error.message()}});
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kAwait);
      continue;
    }
    prepare(socket);
    const std::string peer = peer_name(socket);
    self->serve(
        Connection::Socket(std::move(socket)), peer, std::is_same_v<Protocol, stream_protocol>);
  }
}

void Server::Impl::serve(Connection::Socket socket, std::string peer, bool is_unix) {
  if (core->connections.size() >= core->limits.connections) {
    log(LogLevel::kWarn, "connection refused: too many are open", {{"peer", peer}});
    return;
  }
  error_code error;
  socket.non_blocking(true, error);
  if (error) {
    return;
  }
  const auto connection =
      std::make_shared<Connection>(core, std::move(socket), std::move(peer), is_unix);
  asio::co_spawn(core->executor, run_connection(connection), asio::detached);
}

Result<Address> Server::Impl::listen_tcp(Address address) {
  error_code error;
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  const auto ip = asio::ip::make_address(host, error);
  if (error) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot listen on '{}': it is not an IP address", address.host),
                "use 127.0.0.1, 0.0.0.0, [::1] or [::]");
  }
  const tcp::endpoint endpoint(ip, address.port);
  const auto acceptor = std::make_shared<Acceptor<tcp>>(core->executor);
  const auto open = [&] {
    if (acceptor->open(endpoint.protocol(), error); error) {
      return;
    }
    if (acceptor->set_option(tcp::acceptor::reuse_address(true), error); error) {
      return;
    }
    if (acceptor->bind(endpoint, error); error) {
      return;
    }
    acceptor->listen(asio::socket_base::max_listen_connections, error);
  };
  open();
  if (error) {
    return listen_error(address, error);
  }
  address.port = acceptor->local_endpoint(error).port();
  tcp_acceptors.push_back(acceptor);
  asio::co_spawn(core->executor, accept_loop<tcp>(shared_from_this(), acceptor), asio::detached);
  return address;
}

Result<Address> Server::Impl::listen_unix(const Address& address) {
  GENESIS_TRY_VOID(remove_stale_socket(core->executor, address));
  error_code error;
  const auto acceptor = std::make_shared<Acceptor<stream_protocol>>(core->executor);
  const auto open = [&] {
    if (acceptor->open(stream_protocol(), error); error) {
      return;
    }
    if (acceptor->bind(stream_protocol::endpoint(address.unix_path), error); error) {
      return;
    }
    // Nobody can connect before listen(), so the mode is in force from the first moment.
    if (::chmod(address.unix_path.c_str(), S_IRUSR | S_IWUSR) != 0) {
      error = error_code(errno, boost::system::system_category());
      return;
    }
    acceptor->listen(asio::socket_base::max_listen_connections, error);
  };
  open();
  if (error) {
    return listen_error(address, error);
  }
  unix_acceptors.push_back(acceptor);
  unix_paths.push_back(address.unix_path);
  asio::co_spawn(
      core->executor, accept_loop<stream_protocol>(shared_from_this(), acceptor), asio::detached);
  return address;
}

void Server::Impl::stop_accepting() {
  error_code ignored;
  for (const auto& acceptor : tcp_acceptors) {
    acceptor->close(ignored);
  }
  for (const auto& acceptor : unix_acceptors) {
    acceptor->close(ignored);
  }
  for (const std::string& path : unix_paths) {
    ::unlink(path.c_str());
  }
  tcp_acceptors.clear();
  unix_acceptors.clear();
  unix_paths.clear();
}

Server::Server(Executor executor, Handler handler, ServerLimits limits, RefusalBody refusal_body)
    : impl_(std::make_shared<Impl>(std::make_shared<ServerCore>(
          std::move(executor), std::move(handler), limits, std::move(refusal_body)))) {}

Server::~Server() {
  impl_->stop_accepting();
  for (const auto& connection : connections_of(*impl_->core)) {
    connection->close();
  }
}

Result<Address> Server::listen(const Address& address) {
  return address.is_unix() ? impl_->listen_unix(address) : impl_->listen_tcp(address);
}

void Server::stop_accepting() {
  impl_->stop_accepting();
}

Task<void> Server::drain(milliseconds limit) {
  const auto core = impl_->core;
  impl_->stop_accepting();
  core->draining = true;
  for (const auto& connection : connections_of(*core)) {
    connection->close_when_idle();
  }
  co_await wait_until_quiet(core, steady_clock::now() + limit);
  for (const auto& connection : connections_of(*core)) {
    connection->close();
  }
  co_await wait_until_quiet(core, steady_clock::now() + kAfterClose);
}

void Server::set_admission(Admission admission) {
  impl_->core->admission = std::move(admission);
}

void Server::set_tls(std::shared_ptr<const ServerTls> tls) {
  impl_->core->tls = std::move(tls);
}

void Server::set_keep_alive(bool allowed) {
  impl_->core->keep_alive = allowed;
}

std::size_t Server::held_bytes() const {
  return impl_->core->held_bytes;
}

void Server::set_limits(const ServerLimits& limits) {
  impl_->core->limits = limits;
}

std::size_t Server::open_connections() const {
  return impl_->core->connections.size();
}

std::size_t Server::active_requests() const {
  return impl_->core->active_requests;
}

}  // namespace genesis::net
