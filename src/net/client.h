// HTTP/1.1 client on coroutines: TCP, TLS (verified, system trust store), Unix sockets; keep-alive
// pool per origin; streaming bodies; cancellable at every wait. Knows nothing about models.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/http.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::net {

struct ClientRequest {
  std::string method = "POST";
  BaseUrl base;
  std::string target;  // appended to base.path, begins with '/'
  Headers headers;     // Host, Content-Length, User-Agent and Connection are added
  std::string body;
};

// A response whose head has arrived. Reading the body to its end gives the connection back to the
// pool; dropping the object earlier closes the connection, which tells the upstream to stop.
class ClientResponse {
 public:
  virtual ~ClientResponse() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  // The next piece of the body as it arrives; nullopt at its proper end. A connection cut before
  // the proper end is ErrorCode::kUnavailable.
  virtual Task<Result<std::optional<std::string>>> read_some() = 0;
};

// The whole body, at most `limit` bytes (kUpstream above).
Task<Result<std::string>> read_body(ClientResponse& response, std::size_t limit);

// Error::type of a request that met a kept connection which the peer had closed meanwhile.
inline constexpr std::string_view kStaleConnection = "stale_connection";

// Error::type of a request that found no connection in time: it never left.
inline constexpr std::string_view kConnectTimeout = "connect_timeout";

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{2'000};  // per address tried, TLS handshake included
  // Wait less once it is known how long connections take (connect_budget.h). For clients of one
  // origin.
  bool adaptive_connect = false;
  std::size_t idle_per_origin = 64;
  std::chrono::milliseconds idle_timeout{30'000};
  std::size_t header_bytes = 64 * 1024;
  // A metered caller turns this off: each dispatch has to be booked by itself. It then gets
  // kUnavailable with Error::type kStaleConnection and may try again.
  bool resend_on_stale = true;
  std::string ca_file;  // empty: system trust, SSL_CERT_FILE respected
};

// Lives on `executor`'s thread. A request on a reused connection that fails before any response
// byte because the peer had closed it is sent once more on a fresh connection; nothing else is
// retried. Errors: kUnavailable (refused, reset, DNS, TLS), kTimeout (connect), kCancelled,
// kUpstream (bad HTTP).
class Client {
 public:
  Client(Executor executor, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Returns when the response head is there. `cancel` closes the connection at any time, also while
  // the body is read.
  Task<Result<std::unique_ptr<ClientResponse>>> send(ClientRequest request, CancelToken cancel);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace genesis::net
