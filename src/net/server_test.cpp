// The server over real sockets: keep-alive, streams, limits, timeouts, clients that leave.
#include "net/server.h"

#include "net/net_fixture.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

namespace genesis::net {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;

class ServerTest : public NetTest {
 public:
  // The bytes the server sends for `request`, which must make it close.
  std::string answer(std::string request) { return run(raw_exchange(std::move(request))); }
};

constexpr std::string_view kClose = "Connection: close\r\n\r\n";

std::string simple(std::string_view target) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + std::string(kClose);
}

TEST_F(ServerTest, AnswersAndCloses) {
  start(echo);
  const std::string text = answer(simple("/a?b"));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 200 OK\r\nServer: genesis\r\n")) << text;
  EXPECT_TRUE(text.ends_with("Content-Length: 11\r\nConnection: close\r\n\r\nGET /a?b\n\n") ||
              text.ends_with("\r\n\r\nGET /a?b\n"))
      << text;
  EXPECT_EQ(server_->open_connections(), 0U);
}

TEST_F(ServerTest, ServesPipelinedRequestsInOrder) {
  start(echo);
  std::string many;
  for (int i = 0; i < 50; ++i) {
    many += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  const std::string text = answer(many + simple("/last"));
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = text.find("GET /" + std::to_string(i) + "?", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_NE(text.find("GET /last?", at), std::string::npos);
}

TEST_F(ServerTest, HeadHasALengthAndNoBody) {
  start(echo);
  const std::string text = answer("HEAD /x HTTP/1.1\r\nHost: a\r\n" + std::string(kClose));
  EXPECT_NE(text.find("Content-Length: 9\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\n")) << text;
}

Task<void> stream_three(const ServerRequest&, ResponseWriter& response) {
  EXPECT_FALSE(response.started());
  EXPECT_TRUE(co_await response.start_stream(200, {}));
  EXPECT_TRUE(response.started());
  for (const std::string_view piece : {"one", "", "two", "three"}) {
    EXPECT_TRUE(co_await response.write(piece));
  }
  EXPECT_TRUE(co_await response.finish());
  EXPECT_FALSE(co_await response.write("late"));
  EXPECT_FALSE(co_await response.send(200, {}, ""));
}

TEST_F(ServerTest, StreamsChunked) {
  start(stream_three);
  const std::string text = answer(simple("/"));
  EXPECT_NE(text.find("Transfer-Encoding: chunked\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")) << text;
}

TEST_F(ServerTest, StreamsUntilCloseForHttp10) {
  start(stream_three);
  const std::string text = answer("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(text.find("chunked"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("Connection: close\r\n\r\nonetwothree")) << text;
}

TEST_F(ServerTest, AnswersExpectContinue) {
  start(echo);
  const std::string text = run([](ServerTest& test) -> Task<std::string> {
    tcp::socket socket = test.open_raw();
    co_await send_raw(socket,
                      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                      "Content-Length: 2\r\nConnection: close\r\n\r\n");
    std::string first(25, '\0');
    co_await boost::asio::async_read(
        socket, boost::asio::buffer(first), boost::asio::use_awaitable);
    EXPECT_EQ(first, "HTTP/1.1 100 Continue\r\n\r\n");
    co_await send_raw(socket, "hi");
    co_return co_await read_all(socket);
  }(*this));
  EXPECT_TRUE(text.ends_with("POST /?\nhi")) << text;
}

TEST_F(ServerTest, RefusesInTheCallersShapeAndCloses) {
  server_ = std::make_unique<Server>(io_.get_executor(),
                                     echo,
                                     ServerLimits{.body_bytes = 10},
                                     [](int status, std::string_view, std::string_view path) {
                                       return "refused " + std::string(path) + " " +
                                              std::to_string(status);
                                     });
  address_ = *server_->listen(*parse_address("127.0.0.1:0"));
  std::string text = answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n12345678901");
  EXPECT_TRUE(text.starts_with("HTTP/1.1 413 ")) << text;
  EXPECT_NE(text.find("Content-Type: application/json\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Connection: close\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("refused / 413")) << text;
  text = answer("GET / HTTP/1.1\nHost: a\n\n");
  EXPECT_TRUE(text.ends_with("refused  400")) << text;
}

TEST_F(ServerTest, TellsA413EvenWhileTheClientStillSends) {
  start(echo, {.body_bytes = 1000});
  const std::string text = answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n" +
                                  std::string(kClose) + std::string(4'000'000, 'x'));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 413 ")) << text.substr(0, 100);
}

TEST_F(ServerTest, SlowHeadsAndBodiesEndWith408) {
  start(echo, {.header_timeout = 30ms, .body_timeout = 30ms});
  EXPECT_TRUE(answer("GET / HTTP/1.1\r\nHo").starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc")
                  .starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(answer(""), "") << "a silent connection is closed without a word";
}

TEST_F(ServerTest, IdleConnectionsAreClosed) {
  start(echo, {.idle_timeout = 30ms});
  const std::string text = answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(text.find("Connection: keep-alive"), std::string::npos) << text;
}

TEST_F(ServerTest, AHandlerThatDoesNotAnswerGives500OrACut) {
  start([](const ServerRequest& request, ResponseWriter& response) -> Task<void> {
    if (request.path == "/throw") {
      throw std::runtime_error("boom");
    }
    if (request.path == "/cut") {
      co_await response.start_stream(200, {});
      co_await response.write("part");
    }
  });
  EXPECT_TRUE(answer(simple("/throw")).starts_with("HTTP/1.1 500 "));
  EXPECT_TRUE(answer(simple("/nothing")).starts_with("HTTP/1.1 500 "));
  const std::string text = answer(simple("/cut"));
  EXPECT_TRUE(text.ends_with("4\r\npart\r\n")) << "no end chunk: " << text;
  Client client(io_.get_executor(), {});
  EXPECT_EQ(text_of(run(fetch(client, get("/cut")))), "unavailable");
}

// A handler that waits until its client is gone, and what it saw.
struct Waiter {
  int running = 0;
  int gone = 0;

  Handler handler(NetTest*, std::function<Task<void>(std::function<bool()>)> until) {
    return [this, until](const ServerRequest& request, ResponseWriter& response) -> Task<void> {
      ++running;
      if (request.path == "/stream") {
        co_await response.start_stream(200, {});
        co_await response.write("first");
      }
      const CancelToken token = response.client_gone();
      co_await until([token] { return token.cancelled(); });
      ++gone;
      EXPECT_FALSE(co_await response.write("x"));
    };
  }
};

TEST_F(ServerTest, NoticesAClientThatLeaves) {
  Waiter waiter;
  start(waiter.handler(this, [this](auto condition) { return until(std::move(condition)); }));
  int left = 0;
  for (const std::string_view path : {"/wait", "/stream"}) {
    for (const bool reset : {false, true}) {
      tcp::socket socket = open_raw();
      run(send_raw(socket, simple(path)));
      spin([&] { return waiter.running == left + 1; });
      EXPECT_EQ(waiter.gone, left);
      EXPECT_EQ(server_->active_requests(), 1U);
      if (reset) {
        socket.set_option(tcp::socket::linger(true, 0));
      }
      socket.close();
      ++left;
      spin([&] { return waiter.gone == left; });
    }
  }
  // Half-closed counts as gone, also with pipelined bytes in between.
  tcp::socket socket = open_raw();
  run(send_raw(socket, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP"));
  spin([&] { return waiter.running == left + 1; });
  socket.shutdown(tcp::socket::shutdown_send);
  spin([&] { return waiter.gone == left + 1; });
  spin([&] { return server_->open_connections() == 0 && server_->active_requests() == 0; });
}

TEST_F(ServerTest, CutsAReaderThatTakesNothing) {
  bool ended = false;
  bool cancelled = false;
  start(
      [&](const ServerRequest&, ResponseWriter& response) -> Task<void> {
        co_await response.start_stream(200, {});
        const std::string piece(64 * 1024, 'x');
        for (int i = 0; i < 10'000; ++i) {
          const auto written = co_await response.write(piece);
          if (!written) {
            cancelled =
                response.client_gone().cancelled() && written.error().code == ErrorCode::kCancelled;
            break;
          }
        }
        ended = true;
      },
      {.write_timeout = 50ms});
  tcp::socket socket = open_raw();
  run(send_raw(socket, simple("/")));
  spin([&] { return ended; });
  EXPECT_TRUE(cancelled);
}

TEST_F(ServerTest, ASlowReaderGetsEverything) {
  const std::string piece(1 << 20, 'x');
  start([&](const ServerRequest&, ResponseWriter& response) -> Task<void> {
    EXPECT_TRUE(co_await response.send(200, {}, piece + piece + piece + piece));
  });
  const std::string text = answer(simple("/"));
  EXPECT_EQ(text.size() - text.find("\r\n\r\n") - 4, 4 * piece.size());
}

TEST_F(ServerTest, ConnectionsAreCapped) {
  start(echo, {.connections = 2});
  tcp::socket one = open_raw();
  tcp::socket two = open_raw();
  spin([&] { return server_->open_connections() == 2; });
  EXPECT_EQ(answer(""), "");
  one.close();
  spin([&] { return server_->open_connections() == 1; });
  EXPECT_TRUE(answer(simple("/")).starts_with("HTTP/1.1 200"));
}

TEST_F(ServerTest, DrainLetsOpenRequestsFinish) {
  bool release = false;
  bool drained = false;
  start([&](const ServerRequest& request, ResponseWriter& response) -> Task<void> {
    co_await until([&] { return release; });
    co_await echo(request, response);
  });
  tcp::socket idle = open_raw();
  tcp::socket busy = open_raw();
  run(send_raw(busy, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n"));
  spin([&] { return server_->active_requests() == 1 && server_->open_connections() == 2; });
  boost::asio::co_spawn(io_, server_->drain(20s), [&](std::exception_ptr) { drained = true; });
  EXPECT_EQ(run(read_all(idle)), "");
  EXPECT_FALSE(drained);
  release = true;
  const std::string text = run(read_all(busy));
  EXPECT_NE(text.find("Connection: close"), std::string::npos) << text;
  spin([&] { return drained; });
  boost::system::error_code error;
  tcp::socket late(io_);
  late.connect(tcp::endpoint(boost::asio::ip::make_address(address_.host), address_.port), error);
  EXPECT_TRUE(error) << "nothing listens any more";
}

TEST_F(ServerTest, DrainCutsWhatDoesNotEnd) {
  bool gone = false;
  start([&](const ServerRequest&, ResponseWriter& response) -> Task<void> {
    const CancelToken token = response.client_gone();
    co_await until([&] { return token.cancelled(); });
    gone = true;
  });
  tcp::socket busy = open_raw();
  run(send_raw(busy, simple("/")));
  spin([&] { return server_->active_requests() == 1; });
  run(server_->drain(20ms));
  EXPECT_TRUE(gone);
  EXPECT_EQ(server_->active_requests(), 0U);
}

TEST_F(ServerTest, HandlerHeadersCannotSplitTheHead) {
  start([](const ServerRequest&, ResponseWriter& response) -> Task<void> {
    Headers headers;
    headers.add("X", "a\r\nInjected: 1");
    headers.add("Bad\r\nName", "x");
    headers.add("Content-Length", "7");
    co_await response.send(200, headers, "ok");
  });
  const std::string text = answer(simple("/"));
  EXPECT_NE(text.find("X: aInjected: 1\r\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("Bad"), std::string::npos) << text;
  EXPECT_NE(text.find("Content-Length: 2\r\n"), std::string::npos) << text;
}

TEST_F(ServerTest, UnixSocketsArePrivateAndReplaceStaleFiles) {
  const std::string path = "/tmp/genesis_net_test_" + std::to_string(::getpid()) + ".sock";
  for (int round = 0; round < 2; ++round) {
    start(echo, {}, "unix:" + path);
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    Client client(io_.get_executor(), {});
    EXPECT_EQ(text_of(run(fetch(client, get("/u")))), "GET /u?\n");
    Server second(io_.get_executor(), echo, {});
    EXPECT_FALSE(second.listen(address_)) << "a socket in use is not taken over";
    if (round == 0) {
      // What a killed process leaves behind: a socket file that nobody listens on.
      ASSERT_EQ(::link(path.c_str(), (path + ".stale").c_str()), 0);
      server_.reset();
      ASSERT_EQ(::rename((path + ".stale").c_str(), path.c_str()), 0);
    }
  }
  server_.reset();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(ServerTest, ListenErrorsSayWhy) {
  start(echo);
  Server second(io_.get_executor(), echo, {});
  const auto taken = second.listen(address_);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kIo);
  EXPECT_NE(taken.error().message.find("in use"), std::string::npos) << taken.error().message;
  EXPECT_FALSE(second.listen({.host = "not-an-ip", .port = 0, .unix_path = ""}));
}

}  // namespace
}  // namespace genesis::net
