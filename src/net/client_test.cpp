// The client against our own server and against raw sockets that misbehave.
#include "net/client.h"

#include "net/connect_budget.h"
#include "net/net_fixture.h"

#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

namespace genesis::net {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;

class ClientTest : public NetTest {
 public:
  Client client_{io_.get_executor(), {}};

  std::string ask(ClientRequest request) {
    return text_of(run(fetch(client_, std::move(request))));
  }

  // A one-connection-at-a-time server that reads a head and answers with fixed bytes, then closes
  // when told to.
  void script(std::string reply, bool close, bool reset = false) {
    acceptor_.emplace(io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    address_.host = "127.0.0.1";
    address_.port = acceptor_->local_endpoint().port();
    boost::asio::co_spawn(
        io_, serve_script(std::move(reply), close, reset), [](std::exception_ptr) {});
  }

  Task<void> serve_script(std::string reply, bool close, bool reset) {
    for (;;) {
      auto socket = std::make_shared<tcp::socket>(
          co_await acceptor_->async_accept(boost::asio::use_awaitable));
      ++accepted_;
      std::string head(1, '\0');
      std::string all;
      while (!all.ends_with("\r\n\r\n")) {
        co_await boost::asio::async_read(
            *socket, boost::asio::buffer(head), boost::asio::use_awaitable);
        all += head;
      }
      co_await send_raw(*socket, reply);
      if (reset) {
        socket->set_option(tcp::socket::linger(true, 0));
      }
      if (!close) {
        open_.push_back(socket);
      }
    }
  }

  std::optional<tcp::acceptor> acceptor_;
  std::vector<std::shared_ptr<tcp::socket>> open_;
  int accepted_ = 0;
};

TEST_F(ClientTest, SendsAndReceivesEverySize) {
  start([](const ServerRequest& request, ResponseWriter& response) -> Task<void> {
    if (request.path == "/stream") {
      co_await response.start_stream(200, {});
      for (std::size_t at = 0; at < request.body.size(); at += 1000) {
        co_await response.write(std::string_view(request.body).substr(at, 1000));
      }
      co_await response.finish();
    } else {
      co_await response.send(200, {}, request.body);
    }
  });
  for (const std::size_t size : {0U, 1U, 4095U, 65536U, 1'000'003U, 5'000'000U}) {
    std::string body(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
      body[i] = static_cast<char>(i * 31 + i / 257);
    }
    EXPECT_TRUE(ask(post("/", body)) == body) << size;
    EXPECT_TRUE(ask(post("/stream", body)) == body) << size;
  }
}

TEST_F(ClientTest, ReusesOneConnectionForAThousandRequests) {
  start(echo);
  std::size_t most = 0;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(ask(post("/" + std::to_string(i), "b")), "POST /" + std::to_string(i) + "?\nb");
    most = std::max(most, server_->open_connections());
  }
  EXPECT_EQ(most, 1U);
}

TEST_F(ClientTest, SendsTheHeadersItPromises) {
  start([](const ServerRequest& request, ResponseWriter& response) -> Task<void> {
    std::string text;
    for (const auto& [name, value] : request.headers.all()) {
      text.append(name).append("=").append(value).append(";");
    }
    co_await response.send(200, {}, text);
  });
  ClientRequest request = post("/", "abc");
  request.headers.add("X-One", "1");
  request.headers.add("Content-Length", "99");
  EXPECT_EQ(ask(request),
            "Host=" + address_.to_string() +
                ";X-One=1;User-Agent=genesis;Content-Length=3;Connection=keep-alive;");
  request.headers.add("X-Two", "a\r\nb");
  EXPECT_EQ(ask(request), "invalid_argument");
  EXPECT_EQ(ask(get("/a b")), "invalid_argument");
  EXPECT_EQ(ask(get("no-slash")), "invalid_argument");
}

TEST_F(ClientTest, HeadHasNoBody) {
  start(echo);
  ClientRequest request = get("/x");
  request.method = "HEAD";
  EXPECT_EQ(ask(request), "");
  EXPECT_EQ(ask(get("/x")), "GET /x?\n");
}

TEST_F(ClientTest, ACutAnswerIsAnError) {
  for (const bool reset : {false, true}) {
    script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true, reset);
    EXPECT_EQ(ask(get("/")), "unavailable");
    script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, reset);
    EXPECT_EQ(ask(get("/")), "unavailable");
    script("", true, reset);
    EXPECT_EQ(ask(get("/")), "unavailable");
    EXPECT_EQ(accepted_, 3) << "a fresh connection is never tried twice";
    accepted_ = 0;
  }
  script("HTTP/1.1 200 OK\r\n\r\nabc", true);
  EXPECT_EQ(ask(get("/")), "abc") << "close-delimited";
  script("<html><body>not HTTP at all</body></html>", true);
  EXPECT_EQ(ask(get("/")), "upstream");
}

TEST_F(ClientTest, LimitsHeadAndBody) {
  script("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x'), false);
  EXPECT_EQ(ask(get("/")), "upstream");
  script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", true);
  const auto body = run([](ClientTest& test) -> Task<Result<std::string>> {
    GENESIS_CO_TRY(const auto response, co_await test.client_.send(test.get("/"), {}));
    co_return co_await read_body(*response, 9);
  }(*this));
  EXPECT_EQ(text_of(body), "upstream");
}

TEST_F(ClientTest, AStaleConnectionIsReplacedOnce) {
  start(echo, {.idle_timeout = 20ms});
  EXPECT_EQ(ask(post("/1", "x")), "POST /1?\nx");
  spin([&] { return server_->open_connections() == 0; });
  EXPECT_EQ(ask(post("/2", "x")), "POST /2?\nx");

  // A peer that answers once and resets the connection when the second request arrives.
  script("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", false);
  EXPECT_EQ(ask(get("/")), "a");
  boost::asio::co_spawn(
      io_,
      [](std::shared_ptr<tcp::socket> socket) -> Task<void> {
        std::string byte(1, '\0');
        co_await boost::asio::async_read(
            *socket, boost::asio::buffer(byte), boost::asio::use_awaitable);
        socket->set_option(tcp::socket::linger(true, 0));
        socket->close();
      }(open_.front()),
      [](std::exception_ptr) {});
  EXPECT_EQ(ask(get("/")), "a");
  EXPECT_EQ(accepted_, 2);
}

TEST_F(ClientTest, RefusedAndUnknownHosts) {
  start(echo);
  server_.reset();
  EXPECT_EQ(ask(get("/")), "unavailable");
  ClientRequest request = get("/");
  request.base = *parse_base_url("http://no-such-host.invalid");
  const std::string unknown = ask(request);
  EXPECT_TRUE(unknown == "unavailable" || unknown == "timeout") << unknown;
  request.base = *parse_base_url("unix:/nonexistent/x.sock");
  EXPECT_EQ(ask(request), "unavailable");
}

TEST_F(ClientTest, CancelEndsEveryWait) {
  const auto cancelled = [&](bool head_first) {
    const int before = accepted_;
    CancelSource source;
    boost::asio::co_spawn(
        io_,
        [](ClientTest& test, CancelSource& cancel, int from, bool head) -> Task<void> {
          co_await test.until([&] { return test.accepted_ > from; });
          co_await test.sleep(head ? 20ms : 5ms);
          cancel.cancel();
        }(*this, source, before, head_first),
        [](std::exception_ptr) {});
    const auto result = run([](ClientTest& test, CancelToken token) -> Task<Result<std::string>> {
      GENESIS_CO_TRY(const auto response, co_await test.client_.send(test.get("/"), token));
      co_return co_await read_body(*response, 1000);
    }(*this, source.token()));
    return text_of(result);
  };
  script("", false);
  EXPECT_EQ(cancelled(false), "cancelled") << "while the head is awaited";
  script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false);
  EXPECT_EQ(cancelled(true), "cancelled") << "while the body is awaited";
  CancelSource early;
  early.cancel();
  const auto result = run([](ClientTest& test, CancelToken token) -> Task<Result<std::string>> {
    GENESIS_CO_TRY(const auto response, co_await test.client_.send(test.get("/"), token));
    co_return "sent";
  }(*this, early.token()));
  EXPECT_EQ(text_of(result), "cancelled");
}

TEST_F(ClientTest, DroppingAResponseTellsTheServer) {
  bool gone = false;
  start([&](const ServerRequest&, ResponseWriter& response) -> Task<void> {
    co_await response.start_stream(200, {});
    const CancelToken token = response.client_gone();
    co_await until([&] { return token.cancelled(); });
    gone = true;
  });
  run([](ClientTest& test) -> Task<void> {
    const auto response = co_await test.client_.send(test.get("/"), {});
    EXPECT_TRUE(response);
  }(*this));
  spin([&] { return gone; });
}

TEST_F(ClientTest, ConnectTimesOut) {
  // A listener whose queue is full answers no further connection attempt.
  tcp::acceptor full(io_);
  full.open(tcp::v4());
  full.bind(tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  full.listen(0);
  std::vector<tcp::socket> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back(io_);
    waiting.back().async_connect(full.local_endpoint(), [](boost::system::error_code) {});
  }
  spin([&, turns = 0]() mutable { return ++turns > 3; });
  address_.host = "127.0.0.1";
  address_.port = full.local_endpoint().port();
  Client client(io_.get_executor(), {.connect_timeout = 50ms});
  EXPECT_EQ(text_of(run(fetch(client, get("/")))), "timeout");
}

TEST(ConnectBudget, ShrinksAfterAFewConnectionsAndGrowsBack) {
  ConnectBudget budget(2'000ms);
  for (int i = 0; i < 4; ++i) {
    budget.on_connected(1ms);
  }
  EXPECT_EQ(budget.current(), 2'000ms);
  budget.on_connected(1ms);
  EXPECT_EQ(budget.current(), 250ms);
  for (int i = 0; i < 20; ++i) {
    budget.on_connected(100ms);
  }
  EXPECT_GT(budget.current(), 700ms);
  budget.on_timeout();
  EXPECT_EQ(budget.current(), 2'000ms);
}

}  // namespace
}  // namespace genesis::net
