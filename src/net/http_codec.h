// Bytes in, HTTP messages out: incremental decoders for requests (server side) and responses
// (client side), and the writing of heads and chunks. Boost.Beast parses inside; no sockets here,
// so the same code is fuzzed and property-tested without a network.
#pragma once

#include "base/result.h"
#include "net/http.h"
#include "net/request_head.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace genesis::net {

// Decodes one request. Not thread-safe; use a new one for the next request.
class RequestDecoder {
 public:
  enum class Step : std::uint8_t {
    kNeedMore,  // everything usable of `in` is taken: append more bytes and call again
    kHead,      // head() is complete and a body follows; told once
    kDone,      // head() and body() are complete; what is left in `in` belongs to the next request
    kRefused,   // refusal() says why; the connection cannot be used any more
  };

  RequestDecoder(std::size_t header_bytes, std::size_t body_bytes);
  ~RequestDecoder();
  RequestDecoder(const RequestDecoder&) = delete;
  RequestDecoder& operator=(const RequestDecoder&) = delete;

  // Takes bytes from the front of `in`.
  Step advance(std::string& in);
  // True once a byte of the request line was seen.
  bool started() const;

  RequestHead& head() { return head_; }

  std::string& body();

  const Refusal& refusal() const { return refusal_; }

 private:
  struct Parser;

  Step advance_head(std::string& in);
  Step advance_body(std::string& in);
  Step refuse(int status, std::string message);

  std::size_t header_bytes_;
  std::size_t body_bytes_;
  std::size_t scanned_ = 0;      // bytes of the head already checked for bare LF and the like
  std::size_t empty_lines_ = 0;  // before the request line
  bool saw_bytes_ = false;
  RequestHead head_;
  Refusal refusal_;
  std::unique_ptr<Parser> parser_;  // set when the head is complete
};

// Decodes one response; interim (1xx) responses are skipped. Errors are kUpstream.
class ResponseDecoder {
 public:
  // `to_head_request`: the response has no body whatever its headers say.
  ResponseDecoder(std::size_t header_bytes, bool to_head_request);
  ~ResponseDecoder();
  ResponseDecoder(const ResponseDecoder&) = delete;
  ResponseDecoder& operator=(const ResponseDecoder&) = delete;

  // Takes bytes from the front of `in` as far as they are usable.
  Result<void> advance(std::string& in);
  // The peer closed: fine for a close-delimited body, kUnavailable for anything else.
  Result<void> end_of_stream();

  bool head_done() const { return head_done_; }

  bool done() const;
  // True when the connection can carry another request after this one is done.
  bool keep_alive() const;

  int status() const { return status_; }

  const Headers& headers() const { return headers_; }

  // The body bytes decoded since the last call.
  std::string take_body();

 private:
  struct Parser;

  Result<void> take_head();
  void restart();

  std::size_t header_bytes_;
  bool to_head_request_;
  bool head_done_ = false;
  int interim_ = 0;  // 1xx responses skipped
  int status_ = 0;
  Headers headers_;
  std::unique_ptr<Parser> parser_;
};

// "HTTP/1.1 200 OK\r\n"
std::string status_line(int status);
// Appends "name: value\r\n"; a value that could split the head loses its control characters.
void append_header(std::string& out, std::string_view name, std::string_view value);
// "1a\r\n": the line before a chunk of `size` bytes.
std::string chunk_header(std::size_t size);
// True where a response of this status has no body (RFC 9110 section 6.4.1).
bool status_has_no_body(int status);

}  // namespace genesis::net
