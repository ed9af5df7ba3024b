#include "net/client_transport.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <functional>
#include <poll.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace genesis::net {

namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using Endpoint = asio::generic::stream_protocol::endpoint;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// A name with more addresses than this is cut: each may cost a connect timeout.
constexpr std::size_t kMaxAddresses = 8;

// Calls `on_time` unless it is destroyed before.
class TimeLimit {
 public:
  TimeLimit(const Executor& executor, milliseconds limit, std::function<void()> on_time)
      : state_(std::make_shared<State>(executor, std::move(on_time))) {
    state_->timer.expires_after(limit);
    state_->timer.async_wait([state = state_](error_code error) {
      if (!error && state->armed) {
        state->expired = true;
        state->on_time();
      }
    });
  }

  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

  ~TimeLimit() {
    state_->armed = false;
    state_->timer.cancel();
  }

  bool expired() const { return state_->expired; }

 private:
  struct State {
    State(const Executor& executor, std::function<void()> call)
        : timer(executor), on_time(std::move(call)) {}

    asio::steady_timer timer;
    std::function<void()> on_time;
    bool armed = true;
    bool expired = false;
  };

  std::shared_ptr<State> state_;
};

std::unexpected<Error> unavailable(std::string_view what, std::string_view why) {
  return fail(ErrorCode::kUnavailable, fmt::format("{}: {}", what, why));
}

bool is_ip(const std::string& host) {
  error_code error;
  asio::ip::make_address(host, error);
  return !error;
}

Task<Result<std::vector<Endpoint>>> resolve(Executor executor,
                                            Address address,
                                            milliseconds timeout,
                                            CancelToken cancel) {
  std::vector<Endpoint> endpoints;
  if (address.is_unix()) {
    endpoints.emplace_back(asio::local::stream_protocol::endpoint(address.unix_path));
    co_return endpoints;
  }
  error_code error;
  if (const auto ip = asio::ip::make_address(address.host, error); !error) {
    endpoints.emplace_back(tcp::endpoint(ip, address.port));
    co_return endpoints;
  }
  if (equal_names(address.host, "localhost")) {
    // Not every system can look it up (a minimal one has no /etc/hosts), and nothing but this
    // machine may be meant by it: RFC 6761 section 6.3.
    endpoints.emplace_back(tcp::endpoint(asio::ip::address_v4::loopback(), address.port));
    endpoints.emplace_back(tcp::endpoint(asio::ip::address_v6::loopback(), address.port));
    co_return endpoints;
  }
  const auto resolver = std::make_shared<tcp::resolver>(executor);
  const auto stop = [resolver] { resolver->cancel(); };
  const TimeLimit limit(executor, timeout, stop);
  const CancelHook hook = cancel.on_cancel(stop);
  const auto found =
      co_await resolver->async_resolve(address.host, std::to_string(address.port), kAwait);
  if (cancel.cancelled()) {
    co_return fail(ErrorCode::kCancelled, "cancelled while looking up a host name");
  }
  if (limit.expired()) {
    co_return fail(ErrorCode::kTimeout, fmt::format("looking up '{}' took too long", address.host));
  }
  if (std::get<0>(found)) {
    co_return unavailable(fmt::format("cannot look up '{}'", address.host),
                          std::get<0>(found).message());
  }
  for (const auto& entry : std::get<1>(found)) {
    if (endpoints.size() < kMaxAddresses) {
      endpoints.emplace_back(entry.endpoint());
    }
  }
  co_return endpoints;
}

// The innermost reason OpenSSL gives for a handshake that failed.
std::string tls_reason(SSL* connection, const error_code& error) {
  const long verified = SSL_get_verify_result(connection);
  return verified == X509_V_OK ? error.message() : X509_verify_cert_error_string(verified);
}

// What a read gave: 0 at the proper end of the stream.
Result<std::size_t> read_outcome(const error_code& error, std::size_t count) {
  if (error == asio::error::eof) {
    return 0U;
  }
  if (error) {
    return fail(ErrorCode::kUnavailable, fmt::format("reading failed: {}", error.message()));
  }
  return count;
}

}  // namespace

Transport::Transport(Executor executor) : executor_(std::move(executor)), socket_(executor_) {}

Task<Result<std::shared_ptr<Transport>>> Transport::connect(Executor executor,
                                                            BaseUrl base,
                                                            ConnectOptions options,
                                                            CancelToken cancel) {
  const auto resolved = co_await resolve(executor, base.address, options.timeout, cancel);
  if (!resolved) {
    co_return std::unexpected(resolved.error());
  }
  const std::string where = base.address.to_string();
  Error last{.code = ErrorCode::kUnavailable,
             .message = fmt::format("'{}' has no address", base.address.host)};
  for (const Endpoint& endpoint : *resolved) {
    if (cancel.cancelled()) {
      break;
    }
    const auto transport = std::make_shared<Transport>(executor);
    const auto stop = [transport] { transport->close(); };
    const TimeLimit limit(executor, options.timeout, stop);
    const CancelHook hook = cancel.on_cancel(stop);
    Result<void> opened = co_await transport->open(endpoint, !base.address.is_unix());
    const bool reached = opened.has_value();
    if (opened && base.tls) {
      opened = co_await transport->start_tls(base, *options.tls);
    }
    if (opened && !limit.expired() && !cancel.cancelled()) {
      co_return transport;
    }
    last = opened ? Error{.code = ErrorCode::kTimeout} : opened.error();
    last.message = fmt::format("cannot connect to {}: {}", where, last.message);
    if (limit.expired()) {
      last.code = ErrorCode::kTimeout;
      last.message = fmt::format(
          "cannot connect to {}: no answer within {} ms", where, options.timeout.count());
    } else if (reached) {
      break;  // whoever refuses the handshake would do so at its other addresses, too
    }
  }
  if (cancel.cancelled()) {
    co_return fail(ErrorCode::kCancelled, "cancelled while connecting");
  }
  co_return std::unexpected(std::move(last));
}

Task<Result<void>> Transport::open(const Endpoint& endpoint, bool no_delay) {
  error_code error;
  socket_.open(endpoint.protocol(), error);
  if (error) {
    co_return fail(ErrorCode::kUnavailable, error.message());
  }
  const auto connected = co_await socket_.async_connect(endpoint, kAwait);
  if (std::get<0>(connected)) {
    co_return fail(ErrorCode::kUnavailable, std::get<0>(connected).message());
  }
  if (no_delay) {
    socket_.set_option(tcp::no_delay(true), error);
  }
  socket_.non_blocking(true, error);
  if (error) {
    co_return fail(ErrorCode::kUnavailable, error.message());
  }
  co_return Result<void>{};
}

Task<Result<void>> Transport::start_tls(const BaseUrl& base, ssl::context& context) {
  tls_.emplace(socket_, context);
  SSL* const connection = tls_->native_handle();
  const std::string& host = base.address.host;
  bool prepared = true;
  if (is_ip(host)) {
    prepared = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), host.c_str()) == 1;
  } else {
    SSL_set_hostflags(connection, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    prepared = SSL_set1_host(connection, host.c_str()) == 1 &&
               SSL_set_tlsext_host_name(connection, host.c_str()) == 1;
  }
  if (!prepared) {
    co_return fail(ErrorCode::kInternal, "the host name cannot be used for TLS");
  }
  const auto shaken = co_await tls_->async_handshake(ssl::stream_base::client, kAwait);
  if (std::get<0>(shaken)) {
    co_return fail(ErrorCode::kUnavailable,
                   fmt::format("TLS: {}", tls_reason(connection, std::get<0>(shaken))));
  }
  co_return Result<void>{};
}

Task<Result<std::size_t>> Transport::read_some(std::string& out, std::span<char> scratch) {
  const auto self = shared_from_this();
  co_return tls_ ? co_await read_tls(out, scratch.size()) : co_await read_plain(out, scratch);
}

Task<Result<std::size_t>> Transport::read_plain(std::string& out, std::span<char> scratch) {
  for (;;) {
    error_code error;
    const std::size_t count =
        socket_.read_some(asio::buffer(scratch.data(), scratch.size()), error);
    if (error == asio::error::would_block) {
      const auto waited = co_await socket_.async_wait(asio::socket_base::wait_read, kAwait);
      error = std::get<0>(waited);
      if (!error) {
        continue;
      }
    }
    if (error) {
      co_return read_outcome(error, count);
    }
    out.append(scratch.data(), count);
    co_return count;
  }
}

Task<Result<std::size_t>> Transport::read_tls(std::string& out, std::size_t most) {
  const std::size_t held = out.size();
  out.resize(held + most);
  const auto done = co_await tls_->async_read_some(asio::buffer(out.data() + held, most), kAwait);
  const Result<std::size_t> count = read_outcome(std::get<0>(done), std::get<1>(done));
  out.resize(held + count.value_or(0));
  co_return count;
}

Task<Result<void>> Transport::write_all(std::string_view bytes) {
  const auto self = shared_from_this();
  const auto buffer = asio::buffer(bytes.data(), bytes.size());
  error_code error;
  if (tls_) {
    const auto done = co_await asio::async_write(*tls_, buffer, kAwait);
    error = std::get<0>(done);
  } else {
    const auto done = co_await asio::async_write(socket_, buffer, kAwait);
    error = std::get<0>(done);
  }
  if (error) {
    co_return fail(ErrorCode::kUnavailable, fmt::format("sending failed: {}", error.message()));
  }
  co_return Result<void>{};
}

void Transport::close() {
  error_code ignored;
  socket_.close(ignored);
}

bool Transport::is_idle_and_open() {
  if (!socket_.is_open()) {
    return false;
  }
  char byte = 0;
  const auto n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0) {
    return errno == EAGAIN || errno == EWOULDBLOCK;
  }
  // TLS 1.3 peers send session tickets on their own; over plain TCP an unasked byte is a bug.
  return n > 0 && tls_.has_value();
}

Result<std::shared_ptr<ssl::context>> make_tls_context(const std::string& ca_file) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX* const handle = context->native_handle();
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION);
  // Without this a server that offers HTTP/2 might choose it (RFC 7301).
  constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(handle, kAlpn.data(), kAlpn.size());
  error_code error;
  context->set_verify_mode(ssl::verify_peer, error);
  if (!error && ca_file.empty()) {
    context->set_default_verify_paths(error);
  } else if (!error) {
    context->load_verify_file(ca_file, error);
  }
  if (error) {
    return fail(ErrorCode::kConfig,
                fmt::format("cannot read trusted certificates{}{}: {}",
                            ca_file.empty() ? "" : " from ",
                            ca_file,
                            error.message()));
  }
  return context;
}

}  // namespace genesis::net
