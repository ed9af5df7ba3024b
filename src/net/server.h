// HTTP/1.1 server on coroutines. Strict parsing, limits on everything, keep-alive, chunked
// streaming, and notice within one event-loop turn when a client goes away. Knows nothing about
// models.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/http.h"
#include "net/server_tls.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::net {

struct ServerRequest {
  std::string method;
  std::string path;   // decoded once; never contains "..", NUL or backslash
  std::string query;  // raw text after '?'
  Headers headers;
  std::string body;
  std::string peer;  // "127.0.0.1:53122" or "unix"
  bool from_unix_socket = false;
};

// One response, written once by the handler: either send(), or start_stream(), write()...,
// finish(). After finish() or send() nothing more may be written. If the handler returns without
// finishing a stream, the connection is closed so that the client sees a cut, not an end.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual Task<Result<void>> send(int status, const Headers& headers, std::string_view body) = 0;
  virtual Task<Result<void>> start_stream(int status, const Headers& headers) = 0;
  // Waits until the bytes are in the socket's buffer; a slow reader slows the producer.
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
  virtual Task<Result<void>> finish() = 0;
  virtual bool started() const = 0;
  // Cancelled when the client closes or resets the connection while the handler runs.
  virtual CancelToken client_gone() const = 0;
};

using Handler = std::function<Task<void>(const ServerRequest&, ResponseWriter&)>;

// An answer given before the body was read.
struct EarlyAnswer {
  int status = 0;
  Headers headers;
  std::string body;
};

// Asked with the head alone (no body yet) when the body did not come along with it: whoever may not
// send one is told so before it is taken in. nullopt: go on.
using Admission = std::function<Task<std::optional<EarlyAnswer>>(const ServerRequest&)>;

struct ServerLimits {
  std::size_t body_bytes = 20 * 1024 * 1024;   // 413 above
  std::size_t header_bytes = 32 * 1024;        // 431 above
  std::size_t connections = 10'000;            // further ones are closed at once
  std::size_t held_bytes = 512 * 1024 * 1024;  // of bodies, all connections together; 503 above
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};
  std::chrono::milliseconds write_timeout{
      30'000};  // a reader that takes nothing for so long is cut
};

// Makes the text of protocol-level refusals (400, 408, 413, 431) before a handler is reached.
// `path` is the request's, as far as its head was read; else empty.
using RefusalBody =
    std::function<std::string(int status, std::string_view message, std::string_view path)>;

// Lives on `executor`'s thread. stop() closes the listener; drain() waits for open requests.
class Server {
 public:
  Server(Executor executor, Handler handler, ServerLimits limits, RefusalBody refusal_body = {});
  // Before listen().
  void set_admission(Admission admission);
  // TLS on TCP for the connections accepted from now on; null: none. Unix sockets never have it.
  void set_tls(std::shared_ptr<const ServerTls> tls);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Starts to accept. Port 0 picks a free one; returns the address in use. Unix sockets are made
  // with mode 0600; a stale socket file is replaced.
  Result<Address> listen(const Address& address);
  void stop_accepting();
  // Returns when no request is in flight or the time is over; then closes what is left.
  Task<void> drain(std::chrono::milliseconds limit);
  // Under pressure answers end their connections, so that clients spread or go.
  void set_keep_alive(bool allowed);
  // For requests that begin from now on.
  void set_limits(const ServerLimits& limits);
  std::size_t open_connections() const;
  std::size_t active_requests() const;
  // Bytes of request bodies in memory now.
  std::size_t held_bytes() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace genesis::net
