#include "net/connection.h"

#include "base/log.h"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>
#include <sys/socket.h>

namespace genesis::net {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Pipelined bytes held while a handler runs, above the size of one head; more waits in the kernel.
constexpr std::size_t kReadAhead = 64 * 1024;
// How long a refused client may go on sending before the connection is closed under it. Closing
// with unread bytes would send a reset that can overtake the refusal (RFC 9112 section 9.6).
constexpr milliseconds kLinger{2'000};
// A body slower than 1 KiB/s on top of the body timeout is an attack (slow-body), not a slow line.
constexpr std::size_t kSlowestBytesPerSecond = 1024;
constexpr std::string_view kCrLf = "\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::unexpected<Error> client_gone_error(std::string message) {
  return fail(ErrorCode::kCancelled, std::move(message));
}

asio::const_buffer as_buffer(std::string_view bytes) {
  return asio::buffer(bytes.data(), bytes.size());
}

// Set by the connection itself, so a handler's value would contradict the framing.
bool is_framing_header(std::string_view name) {
  return equal_names(name, "Content-Length") || equal_names(name, "Transfer-Encoding") ||
         equal_names(name, "Connection");
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerCore> core,
                       Socket socket,
                       std::string peer,
                       bool is_unix)
    : core_(std::move(core)),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      is_unix_(is_unix),
      input_(core_->executor),
      output_(core_->executor) {
  if (core_->tls && !is_unix) {
    tls_ = std::make_unique<TlsSession>(core_->tls, socket_.native_handle());
  }
  core_->connections.insert(this);
}

Connection::~Connection() {
  hold(0);
  core_->connections.erase(this);
}

void Connection::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  if (tls_ && state_ != State::kStreaming) {
    tls_->say_goodbye();  // without it an unfinished answer reads as what it is: cut
  }
  error_code ignored;
  socket_.close(ignored);
  input_.notify();
  output_.notify();
  core_->connections.erase(this);
  gone_.cancel();
}

void Connection::close_when_idle() {
  keep_alive_ = false;
  if (!serving_) {
    close();
  }
}

// Keeps one wait for readability armed. While a handler runs this is how a departing client is
// seen.
void Connection::watch() {
  if (watching_ || closed_ || eof_ || in_.size() >= room()) {
    return;
  }
  watching_ = true;
  if (tls_ && tls_->pending()) {
    asio::post(core_->executor, [self = shared_from_this()] {
      self->watching_ = false;
      self->on_readable({});
    });
    return;
  }
  socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](error_code error) {
    self->watching_ = false;
    self->on_readable(error);
  });
}

void Connection::on_readable(error_code error) {
  if (closed_) {
    return;
  }
  const std::size_t before = in_.size();
  // A TLS record is smaller than the scratch buffer: take all that is there.
  while (!error && in_.size() < room()) {
    const std::size_t size = receive(error);
    in_.append(core_->scratch.data(), size);
    if (!tls_) {
      break;
    }
  }
  if (error == asio::error::would_block) {
    watch();
    if (in_.size() == before) {
      return;
    }
  } else if (error) {
    lose_client();
  } else {
    watch();
  }
  input_.notify();
}

// Some bytes into the scratch buffer.
std::size_t Connection::receive(error_code& error) {
  return tls_ ? tls_->read(core_->scratch, error)
              : socket_.read_some(asio::buffer(core_->scratch), error);
}

std::size_t Connection::room() const {
  return core_->limits.header_bytes + kReadAhead;
}

// Counts what this connection keeps of a body; the core knows the sum.
void Connection::hold(std::size_t bytes) {
  core_->held_bytes += bytes - held_;
  held_ = bytes;
}

void Connection::lose_client() {
  eof_ = true;
  keep_alive_ = false;
  gone_.cancel();
}

Task<void> Connection::run() {
  const auto self = shared_from_this();
  while (!closed_) {
    RequestDecoder decoder(core_->limits.header_bytes, core_->limits.body_bytes);
    const bool complete = co_await read_request(decoder);
    if (!complete) {
      break;
    }
    co_await serve(decoder);
    if (!keep_alive_ || core_->draining) {
      break;
    }
  }
  if (!in_.empty() && !closed_ && !eof_) {
    co_await linger();
  }
  close();
}

// True when a whole request is there. Refusals are answered here.
Task<bool> Connection::read_request(RequestDecoder& decoder) {
  const ServerLimits& limits = core_->limits;
  const bool first = !std::exchange(served_before_, true);
  auto deadline = steady_clock::now() + (first ? limits.header_timeout : limits.idle_timeout);
  bool timed = false;
  bool in_body = false;
  bool admitted = false;
  while (!closed_) {
    const auto step = decoder.advance(in_);
    if (in_body) {
      hold(decoder.body().size());
    }
    if (step == RequestDecoder::Step::kDone) {
      watch();
      co_return true;
    }
    if (step == RequestDecoder::Step::kRefused) {
      co_await refuse(decoder.refusal());
      co_return false;
    }
    if (step == RequestDecoder::Step::kHead) {
      in_body = true;
      deadline = steady_clock::now() + limits.body_timeout;
      continue;
    }
    if (in_body && !std::exchange(admitted, true)) {
      // The body has not come along with the head: nobody sends megabytes only to hear "no".
      const bool go_on = co_await admit(decoder);
      if (!go_on) {
        co_return false;
      }
      if (decoder.head().expect_continue && decoder.body().empty()) {
        co_await write_all({as_buffer("HTTP/1.1 100 Continue\r\n\r\n"), {}, {}});
      }
    }
    if (in_body && core_->held_bytes > limits.held_bytes) {
      co_await refuse({.status = 503, .message = "too many request bodies are in memory"});
      co_return false;
    }
    if (eof_ || (core_->draining && !decoder.started())) {
      co_return false;
    }
    if (decoder.started() && !timed) {
      timed = true;
      deadline = steady_clock::now() + limits.header_timeout;
    }
    auto until = deadline;
    if (in_body) {
      until += std::chrono::seconds(decoder.body().size() / kSlowestBytesPerSecond);
    }
    if (steady_clock::now() >= until) {
      if (decoder.started()) {
        co_await refuse({.status = 408, .message = "the request took too long to arrive"});
      }
      co_return false;
    }
    watch();
    co_await input_.wait_until(until);
  }
  co_return false;
}

// False when the head alone was enough to refuse; that is answered here.
Task<bool> Connection::admit(RequestDecoder& decoder) {
  if (!core_->admission) {
    co_return true;
  }
  const RequestHead& head = decoder.head();
  const ServerRequest request{.method = head.method,
                              .path = head.path,
                              .query = head.query,
                              .headers = head.headers,
                              .body = {},
                              .peer = peer_,
                              .from_unix_socket = is_unix_};
  const auto answer = co_await core_->admission(request);
  if (!answer) {
    co_return true;
  }
  keep_alive_ = false;
  http11_ = head.http11;
  is_head_ = head.method == "HEAD";
  state_ = State::kFresh;
  const auto sent = co_await send(answer->status, answer->headers, answer->body);
  if (sent) {
    co_await linger();
  }
  close();
  co_return false;
}

Task<void> Connection::serve(RequestDecoder& decoder) {
  RequestHead& head = decoder.head();
  hold(decoder.body().size());
  ServerRequest request{.method = std::move(head.method),
                        .path = std::move(head.path),
                        .query = std::move(head.query),
                        .headers = std::move(head.headers),
                        .body = std::move(decoder.body()),
                        .peer = peer_,
                        .from_unix_socket = is_unix_};
  gone_ = CancelSource();
  state_ = State::kFresh;
  framing_ = Framing::kChunked;
  is_head_ = request.method == "HEAD";
  http11_ = head.http11;
  keep_alive_ = head.keep_alive && core_->keep_alive && !core_->draining;
  if (eof_) {
    keep_alive_ = false;
    co_return;
  }
  serving_ = true;
  ++core_->active_requests;
  std::string thrown;
  try {
    co_await core_->handler(request, *this);
  } catch (const std::exception& error) {
    thrown = error.what();
  } catch (...) {
    thrown = "unknown exception";
  }
  if (!thrown.empty()) {
    log(LogLevel::kError, "a request handler failed", {{"path", request.path}, {"why", thrown}});
  }
  if (state_ == State::kFresh && !closed_ && !eof_) {
    co_await refuse({.status = 500, .message = "the request was not answered"});
  } else if (state_ != State::kFinished) {
    reset_connection();
  }
  serving_ = false;
  hold(0);
  --core_->active_requests;
  core_->request_done.notify();
}

// Ends the connection so that the client cannot take what it has for a complete answer.
void Connection::reset_connection() {
  error_code ignored;
  if (framing_ == Framing::kUntilClose && !closed_) {
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  }
  close();
}

Task<void> Connection::refuse(Refusal refusal) {
  keep_alive_ = false;
  const std::string body = core_->refusal_body(refusal.status, refusal.message, refusal.path);
  Headers headers;
  headers.add("Content-Type", "application/json");
  if (refusal.status == 503) {
    headers.add("Retry-After", "1");
  }
  state_ = State::kFresh;
  const auto sent = co_await send(refusal.status, headers, body);
  if (sent) {
    co_await linger();
  }
  close();
}

Task<void> Connection::linger() {
  if (tls_) {
    tls_->say_goodbye();
  }
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  const auto end = steady_clock::now() + kLinger;
  while (!eof_ && !closed_ && steady_clock::now() < end) {
    in_.clear();
    watch();
    co_await input_.wait_until(end);
  }
}

std::string Connection::make_head(int status, const Headers& headers) {
  std::string head = status_line(status);
  append_header(head, "Server", "genesis");
  for (const auto& [name, value] : headers.all()) {
    if (equal_names(name, "Connection") && equal_names(value, "close")) {
      keep_alive_ = false;
    }
    if (!is_framing_header(name) && is_http_token(name)) {
      append_header(head, name, value);
    }
  }
  keep_alive_ = keep_alive_ && core_->keep_alive && !core_->draining;
  return head;
}

Task<Result<void>> Connection::send(int status, const Headers& headers, std::string_view body) {
  if (state_ != State::kFresh) {
    co_return fail(ErrorCode::kInternal, "a response was sent twice");
  }
  state_ = State::kFinished;
  std::string head = make_head(status, headers);
  if (!status_has_no_body(status)) {
    append_header(head, "Content-Length", std::to_string(body.size()));
  }
  append_header(head, "Connection", keep_alive_ ? "keep-alive" : "close");
  head.append(kCrLf);
  const bool with_body = !is_head_ && !status_has_no_body(status);
  co_return co_await write_all({as_buffer(head), as_buffer(with_body ? body : ""), {}});
}

Task<Result<void>> Connection::start_stream(int status, const Headers& headers) {
  if (state_ != State::kFresh) {
    co_return fail(ErrorCode::kInternal, "a response was sent twice");
  }
  state_ = State::kStreaming;
  framing_ = http11_ ? Framing::kChunked : Framing::kUntilClose;
  keep_alive_ = keep_alive_ && http11_;
  if (is_head_ || status_has_no_body(status)) {
    framing_ = Framing::kNoBody;
  }
  std::string head = make_head(status, headers);
  if (http11_ && !status_has_no_body(status)) {
    append_header(head, "Transfer-Encoding", "chunked");
  }
  append_header(head, "Connection", keep_alive_ ? "keep-alive" : "close");
  head.append(kCrLf);
  co_return co_await write_all({as_buffer(head), {}, {}});
}

Task<Result<void>> Connection::write(std::string_view bytes) {
  if (state_ != State::kStreaming) {
    co_return fail(ErrorCode::kInternal, "a write outside of a stream");
  }
  // An empty chunk would be the end mark.
  if (bytes.empty() || framing_ == Framing::kNoBody) {
    co_return Result<void>{};
  }
  if (framing_ == Framing::kUntilClose) {
    co_return co_await write_all({as_buffer(bytes), {}, {}});
  }
  const std::string header = chunk_header(bytes.size());
  co_return co_await write_all({as_buffer(header), as_buffer(bytes), as_buffer(kCrLf)});
}

Task<Result<void>> Connection::finish() {
  if (state_ != State::kStreaming) {
    co_return fail(ErrorCode::kInternal, "the end of a stream that is not open");
  }
  if (framing_ == Framing::kChunked) {
    GENESIS_CO_TRY_VOID(co_await write_all({as_buffer(kLastChunk), {}, {}}));
  }
  state_ = State::kFinished;
  co_return Result<void>{};
}

Task<Result<void>> Connection::write_all(Buffers buffers) {
  std::string joined;
  if (tls_) {
    // One record instead of three, and bytes that stay where they are until OpenSSL has taken them.
    for (const asio::const_buffer& buffer : buffers) {
      joined.append(static_cast<const char*>(buffer.data()), buffer.size());
    }
    buffers = {as_buffer(joined), {}, {}};
  }
  while (asio::buffer_size(buffers) > 0) {
    // A refused client may have shut down its sending side; it can still read the refusal.
    if (closed_ || (eof_ && serving_)) {
      co_return client_gone_error("the client has closed the connection");
    }
    error_code error;
    std::size_t written = send_some(buffers, error);
    for (asio::const_buffer& buffer : buffers) {
      const std::size_t step = std::min(written, buffer.size());
      buffer += step;
      written -= step;
    }
    if (error == asio::error::would_block) {
      const bool writable = co_await wait_writable();
      if (!writable) {
        lose_client();
        close();
        co_return client_gone_error("the client did not take the answer in time");
      }
    } else if (error) {
      lose_client();
      co_return client_gone_error("the client has closed the connection");
    }
  }
  co_return Result<void>{};
}

std::size_t Connection::send_some(const Buffers& buffers, error_code& error) {
  if (!tls_) {
    return socket_.write_some(buffers, error);
  }
  const auto* bytes = static_cast<const char*>(buffers.front().data());
  return tls_->write({bytes, buffers.front().size()}, error);
}

// False when the socket took nothing for the whole write timeout.
Task<bool> Connection::wait_writable() {
  const auto ready = std::make_shared<bool>(false);
  socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this(), ready](error_code) {
    *ready = true;
    self->output_.notify();
  });
  const auto end = steady_clock::now() + core_->limits.write_timeout;
  while (!*ready && !closed_ && !eof_ && steady_clock::now() < end) {
    co_await output_.wait_until(end);
  }
  co_return *ready || closed_ || eof_;
}

}  // namespace genesis::net
