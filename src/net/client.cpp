#include "net/client.h"

#include "base/clock.h"
#include "net/client_transport.h"
#include "net/connect_budget.h"
#include "net/http_codec.h"

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace genesis::net {

namespace {

using std::chrono::steady_clock;

// Largest piece taken from a connection at once: a TLS record.
constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::string_view kUserAgent = "genesis";

struct IdleConnection {
  std::shared_ptr<Transport> transport;
  SteadyTime since;
};

std::string origin_key(const BaseUrl& base) {
  return fmt::format("{}{}", base.tls ? "tls:" : "", base.address.to_string());
}

bool is_added_by_us(std::string_view name) {
  return equal_names(name, "Host") || equal_names(name, "Content-Length") ||
         equal_names(name, "Transfer-Encoding") || equal_names(name, "Connection");
}

bool is_target(std::string_view target) {
  for (const char c : target) {
    if (c <= 0x20 || c >= 0x7f) {
      return false;
    }
  }
  return target.starts_with('/');
}

// The head and body as one piece of bytes. Whatever could split the head is refused.
Result<std::string> serialise(const ClientRequest& request) {
  if (!is_http_token(request.method) || !is_target(request.base.path + request.target)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{} {}' cannot be sent over HTTP", request.method, request.target));
  }
  std::string out =
      fmt::format("{} {}{} HTTP/1.1\r\n", request.method, request.base.path, request.target);
  append_header(out, "Host", request.base.host_header);
  for (const auto& [name, value] : request.headers.all()) {
    if (is_added_by_us(name)) {
      continue;
    }
    if (!is_http_token(name) || !is_header_value(value)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("header '{}' holds a character HTTP does not allow", name));
    }
    append_header(out, name, value);
  }
  if (!request.headers.get("User-Agent")) {
    append_header(out, "User-Agent", kUserAgent);
  }
  const bool bodyless = request.method == "GET" || request.method == "HEAD";
  if (!request.body.empty() || !bodyless) {
    append_header(out, "Content-Length", std::to_string(request.body.size()));
  }
  append_header(out, "Connection", "keep-alive");
  out.append("\r\n").append(request.body);
  return out;
}

// Gets a connection that can be used again.
using GiveBack = std::function<void(std::shared_ptr<Transport>)>;

}  // namespace

// The pool. Owned by the Client; responses hold it weakly.
struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(Executor executor_in, ClientOptions options_in)
      : executor(std::move(executor_in)),
        options(std::move(options_in)),
        sweep_timer(executor),
        budget(options.connect_timeout) {}

  std::shared_ptr<Transport> take_idle(const std::string& origin);
  void give_back(const std::string& origin, std::shared_ptr<Transport> transport);
  // Puts a connection into the pool, if that still exists by then.
  GiveBack give_back_later(std::string origin);
  void schedule_sweep();
  void sweep();
  Result<std::shared_ptr<boost::asio::ssl::context>> tls_context();
  // A new connection; feeds the budget.
  Task<Result<std::shared_ptr<Transport>>> connect(const BaseUrl& base,
                                                   const ConnectOptions& connect,
                                                   CancelToken cancel);

  Executor executor;
  ClientOptions options;
  std::map<std::string, std::deque<IdleConnection>> idle;
  boost::asio::steady_timer sweep_timer;
  bool sweeping = false;
  ConnectBudget budget;
  // Every read of a plain connection lands here first; responses may outlive the client.
  std::shared_ptr<std::vector<char>> scratch = std::make_shared<std::vector<char>>(kReadBytes);
  std::shared_ptr<boost::asio::ssl::context> tls;  // made at the first https request
};

namespace {

// Reads one response from one connection.
class Exchange final : public ClientResponse {
 public:
  Exchange(std::shared_ptr<Transport> transport,
           CancelToken cancel,
           std::shared_ptr<std::vector<char>> scratch,
           std::size_t header_bytes,
           bool is_head)
      : transport_(std::move(transport)),
        cancel_(std::move(cancel)),
        scratch_(std::move(scratch)),
        decoder_(header_bytes, is_head),
        hook_(cancel_.on_cancel([held = transport_] { held->close(); })) {}

  ~Exchange() override {
    if (transport_) {
      transport_->close();
    }
  }

  int status() const override { return decoder_.status(); }

  const Headers& headers() const override { return decoder_.headers(); }

  Task<Result<std::optional<std::string>>> read_some() override;
  Task<Result<void>> send(std::string_view bytes);
  Task<Result<void>> read_head();

  // True while not a single byte of an answer was seen.
  bool untouched() const { return !touched_; }

  void on_end(GiveBack give_back) {
    give_back_ = std::move(give_back);
    finish_if_done();
  }

 private:
  Task<Result<void>> read_more();
  void finish_if_done();

  std::shared_ptr<Transport> transport_;  // null when given back
  CancelToken cancel_;
  std::shared_ptr<std::vector<char>> scratch_;
  ResponseDecoder decoder_;
  CancelHook hook_;
  GiveBack give_back_;
  std::string in_;
  bool touched_ = false;
};

Task<Result<void>> Exchange::send(std::string_view bytes) {
  auto sent = co_await transport_->write_all(bytes);
  if (cancel_.cancelled()) {
    co_return fail(ErrorCode::kCancelled, "cancelled while sending the request");
  }
  co_return sent;
}

// Reads until the decoder has something new, or fails.
Task<Result<void>> Exchange::read_more() {
  const auto count = co_await transport_->read_some(in_, *scratch_);
  if (cancel_.cancelled()) {
    co_return fail(ErrorCode::kCancelled, "cancelled while reading the response");
  }
  if (!count) {
    co_return std::unexpected(count.error());
  }
  if (*count == 0) {
    co_return decoder_.end_of_stream();
  }
  touched_ = true;
  co_return decoder_.advance(in_);
}

Task<Result<void>> Exchange::read_head() {
  while (!decoder_.head_done()) {
    GENESIS_CO_TRY_VOID(co_await read_more());
  }
  co_return Result<void>{};
}

Task<Result<std::optional<std::string>>> Exchange::read_some() {
  for (;;) {
    if (cancel_.cancelled()) {
      co_return fail(ErrorCode::kCancelled, "cancelled while reading the response");
    }
    std::string piece = decoder_.take_body();
    finish_if_done();
    if (!piece.empty()) {
      co_return std::optional(std::move(piece));
    }
    if (decoder_.done()) {
      co_return std::nullopt;
    }
    GENESIS_CO_TRY_VOID(co_await read_more());
  }
}

void Exchange::finish_if_done() {
  if (!decoder_.done() || !transport_) {
    return;
  }
  hook_.reset();
  const auto transport = std::exchange(transport_, nullptr);
  if (decoder_.keep_alive() && in_.empty() && give_back_) {
    give_back_(transport);
  } else {
    transport->close();
  }
}

}  // namespace

std::shared_ptr<Transport> Client::Impl::take_idle(const std::string& origin) {
  const auto pool = idle.find(origin);
  while (pool != idle.end() && !pool->second.empty()) {
    const IdleConnection last = std::move(pool->second.back());
    pool->second.pop_back();
    const bool fresh = steady_clock::now() - last.since < options.idle_timeout;
    if (fresh && last.transport->is_idle_and_open()) {
      return last.transport;
    }
    last.transport->close();
  }
  return nullptr;
}

void Client::Impl::give_back(const std::string& origin, std::shared_ptr<Transport> transport) {
  auto& pool = idle[origin];
  if (pool.size() >= options.idle_per_origin) {
    pool.front().transport->close();
    pool.pop_front();
  }
  if (options.idle_per_origin == 0) {
    transport->close();
    return;
  }
  pool.push_back({.transport = std::move(transport), .since = steady_clock::now()});
  schedule_sweep();
}

void Client::Impl::schedule_sweep() {
  if (std::exchange(sweeping, true)) {
    return;
  }
  sweep_timer.expires_after(options.idle_timeout);
  sweep_timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (self && !error) {
      self->sweep();
    }
  });
}

// Closes what has been idle too long, so that peers' closed sockets do not pile up here.
void Client::Impl::sweep() {
  sweeping = false;
  const auto oldest = steady_clock::now() - options.idle_timeout;
  for (auto& [origin, pool] : idle) {
    while (!pool.empty() && pool.front().since <= oldest) {
      pool.front().transport->close();
      pool.pop_front();
    }
  }
  std::erase_if(idle, [](const auto& entry) { return entry.second.empty(); });
  if (!idle.empty()) {
    schedule_sweep();
  }
}

Result<std::shared_ptr<boost::asio::ssl::context>> Client::Impl::tls_context() {
  if (!tls) {
    GENESIS_TRY(tls, make_tls_context(options.ca_file));
  }
  return tls;
}

Client::Client(Executor executor, ClientOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {}

Client::~Client() {
  impl_->sweep_timer.cancel();
  for (auto& [origin, pool] : impl_->idle) {
    for (const IdleConnection& connection : pool) {
      connection.transport->close();
    }
  }
  impl_->idle.clear();
}

GiveBack Client::Impl::give_back_later(std::string origin) {
  return [weak = weak_from_this(), origin = std::move(origin)](std::shared_ptr<Transport> idle) {
    if (const auto pool = weak.lock()) {
      pool->give_back(origin, std::move(idle));
    } else {
      idle->close();
    }
  };
}

Task<Result<std::shared_ptr<Transport>>> Client::Impl::connect(const BaseUrl& base,
                                                               const ConnectOptions& connect,
                                                               CancelToken cancel) {
  const auto self = shared_from_this();
  const auto start = std::chrono::steady_clock::now();
  auto opened = co_await Transport::connect(executor, base, connect, cancel);
  if (opened) {
    self->budget.on_connected(std::chrono::steady_clock::now() - start);
  } else if (opened.error().code == ErrorCode::kTimeout) {
    self->budget.on_timeout();
    opened.error().type = kConnectTimeout;
  }
  co_return opened;
}

Task<Result<std::unique_ptr<ClientResponse>>> Client::send(ClientRequest request,
                                                           CancelToken cancel) {
  const auto impl = impl_;
  const std::string origin = origin_key(request.base);
  GENESIS_CO_TRY(const std::string bytes, serialise(request));
  ConnectOptions connect{.timeout = impl->options.adaptive_connect ? impl->budget.current()
                                                                   : impl->options.connect_timeout,
                         .tls = nullptr};
  if (request.base.tls) {
    GENESIS_CO_TRY(connect.tls, impl->tls_context());
  }
  if (cancel.cancelled()) {
    co_return fail(ErrorCode::kCancelled, "cancelled before the request was sent");
  }
  std::shared_ptr<Transport> transport = impl->take_idle(origin);
  for (;;) {
    const bool reused = transport != nullptr;
    if (!reused) {
      GENESIS_CO_TRY(transport, co_await impl->connect(request.base, connect, cancel));
    }
    auto exchange = std::make_unique<Exchange>(std::move(transport),
                                               cancel,
                                               impl->scratch,
                                               impl->options.header_bytes,
                                               request.method == "HEAD");
    Result<void> done = co_await exchange->send(bytes);
    // A server that refuses early closes its reading side first; its answer may be there already.
    if (done || done.error().code != ErrorCode::kCancelled) {
      const auto read = co_await exchange->read_head();
      done = done || read || read.error().code == ErrorCode::kCancelled ? read : done;
    }
    if (done) {
      exchange->on_end(impl->give_back_later(origin));
      co_return std::unique_ptr<ClientResponse>(std::move(exchange));
    }
    const bool stale =
        reused && exchange->untouched() && done.error().code == ErrorCode::kUnavailable;
    if (stale && !impl->options.resend_on_stale) {
      done.error().type = kStaleConnection;
    }
    if (!stale || !impl->options.resend_on_stale) {
      co_return std::unexpected(done.error());
    }
    transport = nullptr;
  }
}

Task<Result<std::string>> read_body(ClientResponse& response, std::size_t limit) {
  std::string body;
  for (;;) {
    GENESIS_CO_TRY(const auto piece, co_await response.read_some());
    if (!piece) {
      co_return body;
    }
    if (piece->size() > limit - body.size()) {
      co_return fail(ErrorCode::kUpstream,
                     fmt::format("the response body is longer than {} bytes", limit));
    }
    body.append(*piece);
  }
}

}  // namespace genesis::net
