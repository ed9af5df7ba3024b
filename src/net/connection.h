// One client connection of the server: reads requests, runs the handler, writes the response, and
// watches the socket all the while. Internal to this room.
#pragma once

#include "net/http_codec.h"
#include "net/server.h"
#include "net/signal.h"
#include "net/tls_session.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace genesis::net {

class Connection;

// What the connections of one server share. Outlives them all (each holds a reference).
struct ServerCore {
  ServerCore(Executor executor_in,
             Handler handler_in,
             ServerLimits limits_in,
             RefusalBody refusal_in);

  Executor executor;
  Handler handler;
  ServerLimits limits;
  RefusalBody refusal_body;
  Admission admission;
  std::shared_ptr<const ServerTls> tls;
  bool keep_alive = true;
  std::size_t held_bytes = 0;
  std::unordered_set<Connection*> connections;
  std::size_t active_requests = 0;
  bool draining = false;
  Signal request_done;        // wakes drain()
  std::vector<char> scratch;  // every read lands here first, so idle connections own no buffer
};

// Kept alive by its own coroutine and by the socket wait in flight; gone when both are over.
class Connection final : public ResponseWriter, public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;

  // TLS is spoken on TCP when the core has a certificate by now.
  Connection(std::shared_ptr<ServerCore> core, Socket socket, std::string peer, bool is_unix);
  ~Connection() override;

  // Serves requests until the connection ends.
  Task<void> run();
  // From the server: ends the connection at once, or as soon as no request is being served.
  void close();
  void close_when_idle();

  Task<Result<void>> send(int status, const Headers& headers, std::string_view body) override;
  Task<Result<void>> start_stream(int status, const Headers& headers) override;
  Task<Result<void>> write(std::string_view bytes) override;
  Task<Result<void>> finish() override;

  bool started() const override { return state_ != State::kFresh; }

  CancelToken client_gone() const override { return gone_.token(); }

 private:
  enum class State : std::uint8_t { kFresh, kStreaming, kFinished };
  enum class Framing : std::uint8_t { kChunked, kUntilClose, kNoBody };
  using Buffers = std::array<boost::asio::const_buffer, 3>;

  void watch();
  void on_readable(boost::system::error_code error);
  std::size_t receive(boost::system::error_code& error);
  std::size_t room() const;
  void hold(std::size_t bytes);
  Task<bool> admit(RequestDecoder& decoder);
  void lose_client();
  Task<bool> read_request(RequestDecoder& decoder);
  Task<void> serve(RequestDecoder& decoder);
  Task<void> refuse(Refusal refusal);
  Task<void> linger();
  std::string make_head(int status, const Headers& headers);
  Task<Result<void>> write_all(Buffers buffers);
  std::size_t send_some(const Buffers& buffers, boost::system::error_code& error);
  Task<bool> wait_writable();
  void reset_connection();

  std::shared_ptr<ServerCore> core_;
  Socket socket_;
  std::unique_ptr<TlsSession> tls_;
  std::string peer_;
  bool is_unix_;
  Signal input_;   // something was read, or the peer is gone
  Signal output_;  // the socket takes bytes again
  std::string in_;
  std::size_t held_ = 0;  // bytes of the body, counted in the core
  bool watching_ = false;
  bool eof_ = false;
  bool closed_ = false;
  bool served_before_ = false;

  // Of the request being served.
  CancelSource gone_;
  State state_ = State::kFresh;
  Framing framing_ = Framing::kChunked;
  bool serving_ = false;
  bool is_head_ = false;
  bool http11_ = true;
  bool keep_alive_ = true;
};

}  // namespace genesis::net
