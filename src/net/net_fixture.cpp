#include "net/net_fixture.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <cstdlib>
#include <iostream>

namespace genesis::net {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kWatchdog{60};

}  // namespace

NetTest::~NetTest() {
  server_.reset();
}

void NetTest::spin(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + kWatchdog;
  io_.restart();
  while (!done()) {
    if (io_.stopped()) {
      io_.restart();
    }
    io_.run_one_for(std::chrono::milliseconds(200));
    if (std::chrono::steady_clock::now() > end) {
      std::cerr << "the test hangs\n";
      std::abort();
    }
  }
}

void NetTest::run(Task<void> task) {
  bool done = false;
  asio::co_spawn(io_, std::move(task), [&](const std::exception_ptr& failure) {
    if (failure) {
      std::rethrow_exception(failure);
    }
    done = true;
  });
  spin([&] { return done; });
}

Task<void> NetTest::sleep(std::chrono::milliseconds time) {
  asio::steady_timer timer(io_);
  timer.expires_after(time);
  co_await timer.async_wait(kAwait);
}

Task<void> NetTest::until(std::function<bool()> condition) {
  while (!condition()) {
    co_await sleep(std::chrono::milliseconds(1));
  }
}

void NetTest::start(Handler handler, ServerLimits limits, std::string_view at) {
  server_ = std::make_unique<Server>(io_.get_executor(), std::move(handler), limits);
  const auto listening = server_->listen(*parse_address(at));
  ASSERT_TRUE(listening) << listening.error().message;
  address_ = *listening;
}

BaseUrl NetTest::base(std::string_view path) const {
  const std::string origin =
      address_.is_unix() ? address_.to_string() + ":" : "http://" + address_.to_string();
  return *parse_base_url(origin + std::string(path.empty() ? "/" : path));
}

ClientRequest NetTest::get(std::string target) const {
  ClientRequest request;
  request.method = "GET";
  request.base = base();
  request.target = std::move(target);
  return request;
}

ClientRequest NetTest::post(std::string target, std::string body) const {
  ClientRequest request = get(std::move(target));
  request.method = "POST";
  request.body = std::move(body);
  return request;
}

tcp::socket NetTest::open_raw() {
  tcp::socket socket(io_);
  socket.connect(tcp::endpoint(asio::ip::make_address(address_.host), address_.port));
  return socket;
}

Task<void> NetTest::send_raw(tcp::socket& socket, std::string bytes) {
  co_await asio::async_write(socket, asio::buffer(bytes), kAwait);
}

Task<std::string> NetTest::read_all(tcp::socket& socket) {
  std::string all;
  std::string piece(64 * 1024, '\0');
  for (;;) {
    const auto done = co_await socket.async_read_some(asio::buffer(piece), kAwait);
    all.append(piece, 0, std::get<1>(done));
    if (std::get<0>(done)) {
      co_return all;
    }
  }
}

Task<std::string> NetTest::raw_exchange(std::string bytes) {
  tcp::socket socket = open_raw();
  co_await send_raw(socket, std::move(bytes));
  co_return co_await read_all(socket);
}

Task<void> echo(const ServerRequest& request, ResponseWriter& response) {
  Headers headers;
  headers.add("Content-Type", "text/plain");
  const std::string text =
      request.method + " " + request.path + "?" + request.query + "\n" + request.body;
  co_await response.send(200, headers, text);
}

std::string text_of(const Result<std::string>& result) {
  return result ? *result : std::string(error_code_name(result.error().code));
}

Task<Result<std::string>> fetch(Client& client, ClientRequest request) {
  GENESIS_CO_TRY(const auto response, co_await client.send(std::move(request), {}));
  co_return co_await read_body(*response, 64 * 1024 * 1024);
}

}  // namespace genesis::net
