// The strict request-head reader and the decoders: smuggling cases, limits, and any-split
// properties.
#include "net/request_head.h"

#include "net/http_codec.h"

#include <gtest/gtest.h>

namespace genesis::net {
namespace {

using Step = RequestDecoder::Step;

struct Decoded {
  Step step = Step::kNeedMore;
  int status = 0;
  std::string path;
  std::string body;
  std::string rest;

  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view bytes, std::size_t piece = 1 << 20) {
  RequestDecoder decoder(4096, 1000);
  std::string in;
  Decoded out;
  while (!bytes.empty() && (out.step == Step::kNeedMore)) {
    in.append(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    do {
      out.step = decoder.advance(in);
    } while (out.step == Step::kHead);
  }
  out.rest = in + std::string(bytes);
  if (out.step == Step::kDone) {
    out.path = decoder.head().path + "?" + decoder.head().query;
    out.body = decoder.body();
  } else if (out.step == Step::kRefused) {
    out.status = decoder.refusal().status;
    out.rest.clear();
  }
  return out;
}

int status_of(std::string_view bytes) {
  const int whole = decode(bytes).status;
  EXPECT_EQ(decode(bytes, 1).status, whole) << bytes;
  return whole;
}

std::string with(std::string_view lines) {
  return "POST /x HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n";
}

TEST(RequestDecoder, ReadsOrdinaryRequests) {
  EXPECT_EQ(decode("GET /a%20b/c?q=%31 HTTP/1.1\r\nHost: a\r\n\r\nGET").path, "/a b/c?q=%31");
  EXPECT_EQ(decode("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET").rest, "GET");
  EXPECT_EQ(decode("\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n").step, Step::kDone);
  EXPECT_EQ(decode("GET / HTTP/1.0\r\n\r\n").step, Step::kDone);
  EXPECT_EQ(decode("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*?");
  EXPECT_EQ(decode(with("Content-Length: 3\r\n") + "abcd").body, "abc");
  EXPECT_EQ(decode(with("Content-Length: 3\r\n") + "abcd").rest, "d");
  EXPECT_EQ(decode(with("Transfer-Encoding: Chunked\r\n") +
                   "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\nz")
                .body,
            "abcde");
  EXPECT_EQ(decode(with("Content-Length: 5\r\n") + "abc").step, Step::kNeedMore);
}

TEST(RequestDecoder, AbsoluteFormOverridesHost) {
  const auto head = parse_request_head("GET http://real:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->path, "/p");
  EXPECT_EQ(head->query, "q");
  EXPECT_EQ(head->headers.get("host"), "real:81");
  EXPECT_EQ(status_of("GET http://u:p@h/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("CONNECT h:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(RequestDecoder, ConnectionHeaderAndVersionDecideKeepAlive) {
  const auto keep = [](std::string_view version, std::string_view lines) {
    return parse_request_head("GET / " + std::string(version) + "\r\nHost: a\r\n" +
                              std::string(lines) + "\r\n")
        ->keep_alive;
  };
  EXPECT_TRUE(keep("HTTP/1.1", ""));
  EXPECT_FALSE(keep("HTTP/1.1", "Connection: x , Close\r\n"));
  EXPECT_FALSE(keep("HTTP/1.0", ""));
  EXPECT_TRUE(keep("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

TEST(RequestDecoder, RefusesSmuggling) {
  for (const std::string_view lines : {
           "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
           "Content-Length: 3\r\nContent-Length: 4\r\n",
           "Content-Length: 3\r\nContent-Length: 3\r\n",
           "Content-Length: 3, 3\r\n",
           "Content-Length: +3\r\n",
           "Content-Length: -1\r\n",
           "Content-Length: 0x3\r\n",
           "Content-Length: 3 3\r\n",
           "Content-Length:\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding: chunked, chunked\r\n",
           "Transfer-Encoding: identity\r\n",
           "Transfer-Encoding: xchunked\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding:\x0b"
           "chunked\r\n",
           "Transfer-Encoding : chunked\r\n",
           " Transfer-Encoding: chunked\r\n",
           "X: a\r\n b\r\n",
           "X: a\r\n\tb\r\n",
           "X: a\nY: b\r\n",
           "X: a\rY: b\r\n",
           "X\r\n",
           ": x\r\n",
           "X y: z\r\n",
           "Host: b\r\n",
           "X: \x7f\r\n",
           "Host: a/b\r\n",
       }) {
    EXPECT_EQ(status_of(with(lines)), 400) << lines;
  }
  EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 33)), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\nHost: a\n\n"), 400) << "bare LF is refused before any end";
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(RequestDecoder, RefusesBadRequestLines) {
  for (const std::string_view line : {"GET  / HTTP/1.1",
                                      "GET /",
                                      "GET / HTTP/1.1 ",
                                      " GET / HTTP/1.1",
                                      "G@T / HTTP/1.1",
                                      "GET /a b HTTP/1.1",
                                      "GET /\xff HTTP/1.1",
                                      "GET a HTTP/1.1",
                                      "GET * HTTP/1.1",
                                      "GET /a#b HTTP/1.1",
                                      "GET ftp://x/ HTTP/1.1",
                                      "GET /a/../b HTTP/1.1",
                                      "GET /a/%2e%2E/b HTTP/1.1",
                                      "GET /%00 HTTP/1.1",
                                      "GET /%5c HTTP/1.1",
                                      "GET /%0a HTTP/1.1",
                                      "GET /%zz HTTP/1.1",
                                      "GET /%4 HTTP/1.1"}) {
    EXPECT_EQ(status_of(std::string(line) + "\r\nHost: a\r\n\r\n"), 400) << line;
  }
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: no host\r\n\r\n"), 400);
}

TEST(RequestDecoder, RefusesBadChunks) {
  const std::string head = with("Transfer-Encoding: chunked\r\n");
  for (const std::string_view body : {"-1\r\n",
                                      " 3\r\nabc\r\n",
                                      "3 \r\nabc\r\n0\r\n\r\n",
                                      "0x3\r\nabc\r\n\r\n",
                                      "3\nabc\n0\n\n\r\n",
                                      "3\r\nabcd\r\n0\r\n\r\n",
                                      "3\r\nabcX\r\n0\r\n\r\n",
                                      "fffffffffffffffff\r\n",
                                      "\r\n",
                                      ";x\r\n",
                                      "3;\x01\r\nabc\r\n0\r\n\r\n",
                                      "0\r\nContent-Length: 5\r\n\r\n",
                                      "0\r\nbad trailer\r\n\r\n"}) {
    EXPECT_EQ(status_of(head + std::string(body)), 400) << body;
  }
  EXPECT_EQ(status_of(head + "1;" + std::string(20'000, 'x')), 400) << "endless chunk extension";
  EXPECT_EQ(decode(head + "3\r\nabc\r\n0\r\n").step, Step::kNeedMore) << "no final empty line";
}

TEST(RequestDecoder, KeepsItsLimits) {
  EXPECT_EQ(status_of(with("Content-Length: 1001\r\n")), 413);
  EXPECT_EQ(decode(with("Content-Length: 1000\r\n") + std::string(1000, 'x')).step, Step::kDone);
  const std::string chunks = "1f4\r\n" + std::string(500, 'x') + "\r\n";
  EXPECT_EQ(status_of(with("Transfer-Encoding: chunked\r\n") + chunks + chunks + chunks), 413);
  EXPECT_EQ(status_of(with("X: " + std::string(5000, 'x') + "\r\n")), 431);
  EXPECT_EQ(status_of("GET /" + std::string(5000, 'x')), 431);
  std::string many;
  for (std::size_t i = 0; i <= kMaxHeaderFields; ++i) {
    many += "a: b\r\n";
  }
  EXPECT_EQ(status_of(with(many)), 431);
  EXPECT_EQ(status_of(with("Content-Encoding: gzip\r\n")), 415);
  EXPECT_EQ(status_of(with("Expect: nonsense\r\n")), 417);
  EXPECT_EQ(status_of("\r\n\r\n\r\n\r\n\r\n\r\n\r\n"), 400);
}

TEST(RequestDecoder, AnySplitGivesTheSameRequest) {
  const std::string text = with("Transfer-Encoding: chunked\r\nX: y\r\n") +
                           "5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nT: v\r\n\r\nNEXT";
  const Decoded whole = decode(text);
  ASSERT_EQ(whole.body, "hello world");
  ASSERT_EQ(whole.rest, "NEXT");
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    EXPECT_EQ(decode(text, piece), whole) << "pieces of " << piece;
  }
  const std::string empty = with("Transfer-Encoding: chunked\r\n") + "0\r\n\r\nNEXT";
  for (std::size_t piece = 1; piece < empty.size(); ++piece) {
    EXPECT_EQ(decode(empty, piece).rest, "NEXT") << "pieces of " << piece;
  }
}

std::string decode_response(std::string_view bytes, std::size_t piece, bool close) {
  ResponseDecoder decoder(4096, false);
  std::string in;
  std::string body;
  while (!bytes.empty() && !decoder.done()) {
    in.append(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    if (const auto ok = decoder.advance(in); !ok) {
      return std::string(error_code_name(ok.error().code));
    }
    body += decoder.take_body();
  }
  if (close && !decoder.done()) {
    if (const auto ok = decoder.end_of_stream(); !ok) {
      return std::string(error_code_name(ok.error().code));
    }
  }
  return std::to_string(decoder.status()) + " " + body +
         (decoder.keep_alive() ? " keep" : " close");
}

TEST(ResponseDecoder, ReadsEveryFramingInAnySplit) {
  const struct {
    std::string_view bytes;
    std::string_view expected;
  } cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello keep"},
      {"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
       "200 hello keep"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200  keep"},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "200 x close"},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 until the end close"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204  keep"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "unavailable"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "unavailable"},
      {"HTTP/1.1 200", "unavailable"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "upstream"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "upstream"},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "upstream"},
      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream"},
  };

  for (const auto& [bytes, expected] : cases) {
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      EXPECT_EQ(decode_response(bytes, piece, true), expected)
          << bytes << " in pieces of " << piece;
    }
  }
  EXPECT_EQ(decode_response("HTTP/1.1 200 OK\r\nX: " + std::string(5000, 'x'), 100, true),
            "upstream");
}

}  // namespace
}  // namespace genesis::net
