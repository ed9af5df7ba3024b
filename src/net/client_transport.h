// One client-side connection: TCP, TLS over TCP, or a Unix socket, behind the same four calls.
// Internal to this room.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/http.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace genesis::net {

// What a connection needs to be opened.
struct ConnectOptions {
  std::chrono::milliseconds timeout{2'000};  // per address, TLS handshake included; DNS likewise
  std::shared_ptr<boost::asio::ssl::context> tls;
};

// Lives on the io thread. close() may be called at any time: what is waiting ends with an error.
class Transport : public std::enable_shared_from_this<Transport> {
 public:
  explicit Transport(Executor executor);

  // Resolves and tries the addresses in order. Errors: kUnavailable, kTimeout, kCancelled.
  static Task<Result<std::shared_ptr<Transport>>> connect(Executor executor,
                                                          BaseUrl base,
                                                          ConnectOptions options,
                                                          CancelToken cancel);

  // Appends some bytes to `out`; 0 at the proper end of the stream. They pass through `scratch`,
  // which every connection of the thread may share: one that waits for its peer owns no buffer.
  Task<Result<std::size_t>> read_some(std::string& out, std::span<char> scratch);
  Task<Result<void>> write_all(std::string_view bytes);
  void close();
  // False when the peer has closed an idle connection, or talks without being asked.
  bool is_idle_and_open();

 private:
  using Socket = boost::asio::generic::stream_protocol::socket;

  Task<Result<void>> open(const boost::asio::generic::stream_protocol::endpoint& endpoint,
                          bool no_delay);
  Task<Result<void>> start_tls(const BaseUrl& base, boost::asio::ssl::context& context);
  Task<Result<std::size_t>> read_plain(std::string& out, std::span<char> scratch);
  Task<Result<std::size_t>> read_tls(std::string& out, std::size_t most);

  Executor executor_;
  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

// The TLS settings of a client: TLS 1.2 or newer, peer verified against `ca_file` or the system's
// trust store (SSL_CERT_FILE and SSL_CERT_DIR respected by OpenSSL). kConfig when unreadable.
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const std::string& ca_file);

}  // namespace genesis::net
