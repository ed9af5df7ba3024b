#include "net/http_codec.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace genesis::net {

namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::string_view kHeadEnd = "\r\n\r\n";
// RFC 9112 section 2.2 asks to ignore at least one empty line before the request line.
constexpr std::size_t kMaxEmptyLines = 4;
// A chunk-size line with its extensions, or a trailer section: nobody needs more.
constexpr std::size_t kMaxChunkLine = 8 * 1024;
// More interim responses than this in front of one answer is an attack or a bug.
constexpr int kMaxInterim = 8;

// A message body that is appended to a string: no size is believed before the bytes are there.
struct StringSink {
  using value_type = std::string;

  class reader {  // NOLINT(readability-identifier-naming): the name Beast looks for
   public:
    template <bool is_request, typename Fields>
    reader(http::header<is_request, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }

    template <typename Buffers>
    std::size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      std::size_t size = 0;
      for (auto at = boost::asio::buffer_sequence_begin(buffers);
           at != boost::asio::buffer_sequence_end(buffers);
           ++at) {
        const boost::asio::const_buffer piece = *at;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        size += piece.size();
      }
      return size;
    }

    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

std::string_view reason_phrase(int status) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {reason.data(), reason.size()};
}

// An empty chunked body is "0\r\n\r\n". Boost.Beast 1.81 asserts that it sees no less of one the
// second time it looks, so a body that begins with '0' waits until so many bytes are there.
constexpr std::size_t kEmptyChunkedBody = 5;

template <bool is_request>
struct BeastParser {
  http::parser<is_request, StringSink> parser;
  bool body_begun = false;

  // Feeds all of `in` that the parser can use; need_more is not an error here.
  error_code feed(std::string& in) {
    error_code error;
    std::size_t used = 0;
    while (!parser.is_done() && used < in.size()) {
      const bool in_body = parser.is_header_done();
      const std::size_t left = in.size() - used;
      const bool may_be_empty = in_body && !body_begun && parser.chunked() && in[used] == '0';
      if (may_be_empty && left < kEmptyChunkedBody) {
        break;
      }
      const std::size_t n = parser.put(boost::asio::buffer(in.data() + used, left), error);
      used += n;
      body_begun = body_begun || (in_body && n > 0);
      if (error || n == 0) {
        break;
      }
    }
    in.erase(0, used);
    return error == http::error::need_more ? error_code{} : error;
  }
};

}  // namespace

// RFC 9112 allows blanks between a chunk's size and the ';' of its extensions. Other parsers refuse
// them, and a request that two parsers read differently is what smuggling is made of.
struct RequestDecoder::Parser : BeastParser<true> {
  std::function<void(std::uint64_t, boost::beast::string_view, error_code&)> chunk_header =
      [](std::uint64_t, boost::beast::string_view extensions, error_code& error) {
        if (!extensions.empty() && extensions.front() != ';') {
          error = http::error::bad_chunk_extension;
        }
      };

  Parser() { parser.on_chunk_header(chunk_header); }
};

RequestDecoder::RequestDecoder(std::size_t header_bytes, std::size_t body_bytes)
    : header_bytes_(header_bytes), body_bytes_(body_bytes) {}

RequestDecoder::~RequestDecoder() = default;

bool RequestDecoder::started() const {
  return saw_bytes_;
}

std::string& RequestDecoder::body() {
  return parser_->parser.get().body();
}

RequestDecoder::Step RequestDecoder::refuse(int status, std::string message) {
  refusal_ = {.status = status, .message = std::move(message), .path = head_.path};
  return Step::kRefused;
}

RequestDecoder::Step RequestDecoder::advance(std::string& in) {
  return parser_ ? advance_body(in) : advance_head(in);
}

RequestDecoder::Step RequestDecoder::advance_head(std::string& in) {
  while (!saw_bytes_ && in.starts_with("\r\n")) {
    if (++empty_lines_ > kMaxEmptyLines) {
      return refuse(400, "too many empty lines before the request");
    }
    in.erase(0, 2);
  }
  if (in.empty() || in == "\r") {
    return Step::kNeedMore;
  }
  saw_bytes_ = true;
  // The terminator may begin in bytes that were scanned already.
  const auto end = in.find(kHeadEnd, scanned_ - std::min<std::size_t>(scanned_, 3));
  const std::size_t size = end == std::string::npos ? in.size() : end + kHeadEnd.size();
  if (size > header_bytes_) {
    return refuse(431, fmt::format("the request head is longer than {} bytes", header_bytes_));
  }
  if (end == std::string::npos) {
    const auto checked = check_partial_head(in, scanned_);
    if (!checked) {
      return refuse(checked.error().status, checked.error().message);
    }
    scanned_ = *checked;
    return Step::kNeedMore;
  }
  auto head = parse_request_head(std::string_view(in).substr(0, size));
  if (!head) {
    return refuse(head.error().status, head.error().message);
  }
  head_ = std::move(*head);
  if (head_.content_length.value_or(0) > body_bytes_) {
    return refuse(413, fmt::format("the request body is longer than {} bytes", body_bytes_));
  }
  parser_ = std::make_unique<Parser>();
  parser_->parser.header_limit(static_cast<std::uint32_t>(header_bytes_ + 1));
  parser_->parser.body_limit(body_bytes_);
  std::string head_text = in.substr(0, size);
  in.erase(0, size);
  if (const error_code error = parser_->feed(head_text);
      error || !head_text.empty() || !parser_->parser.is_header_done()) {
    return refuse(400, fmt::format("malformed request head: {}", error.message()));
  }
  if (parser_->parser.is_done()) {
    return Step::kDone;
  }
  return Step::kHead;
}

RequestDecoder::Step RequestDecoder::advance_body(std::string& in) {
  const error_code error = parser_->feed(in);
  if (error == http::error::body_limit) {
    return refuse(413, fmt::format("the request body is longer than {} bytes", body_bytes_));
  }
  if (error) {
    return refuse(400, fmt::format("malformed request body: {}", error.message()));
  }
  if (parser_->parser.is_done()) {
    return Step::kDone;
  }
  if (in.size() > kMaxChunkLine) {
    return refuse(400, fmt::format("a chunk header is longer than {} bytes", kMaxChunkLine));
  }
  return Step::kNeedMore;
}

struct ResponseDecoder::Parser : BeastParser<false> {};

ResponseDecoder::ResponseDecoder(std::size_t header_bytes, bool to_head_request)
    : header_bytes_(header_bytes), to_head_request_(to_head_request) {
  restart();
}

ResponseDecoder::~ResponseDecoder() = default;

void ResponseDecoder::restart() {
  parser_ = std::make_unique<Parser>();
  parser_->parser.header_limit(static_cast<std::uint32_t>(header_bytes_));
  parser_->parser.body_limit(boost::none);  // the reader of the body bounds it
  parser_->parser.skip(to_head_request_);
}

bool ResponseDecoder::done() const {
  return head_done_ && parser_->parser.is_done();
}

bool ResponseDecoder::keep_alive() const {
  return done() && parser_->parser.keep_alive();
}

std::string ResponseDecoder::take_body() {
  return std::exchange(parser_->parser.get().body(), {});
}

Result<void> ResponseDecoder::advance(std::string& in) {
  while (!done()) {
    const bool in_head = !head_done_;
    const error_code error = parser_->feed(in);
    if (error) {
      return fail(ErrorCode::kUpstream,
                  fmt::format("malformed HTTP response: {}", error.message()));
    }
    if (in_head && parser_->parser.is_header_done()) {
      GENESIS_TRY_VOID(take_head());
      continue;
    }
    break;
  }
  const std::size_t limit = head_done_ ? kMaxChunkLine : header_bytes_;
  if (!done() && in.size() > limit) {
    return fail(ErrorCode::kUpstream,
                fmt::format("a head or chunk header of the HTTP response is over {} bytes", limit));
  }
  return {};
}

Result<void> ResponseDecoder::take_head() {
  const auto& message = parser_->parser.get();
  status_ = static_cast<int>(message.result_int());
  if (status_ < 200) {
    if (status_ < 100 || status_ == 101 || ++interim_ > kMaxInterim) {
      return fail(ErrorCode::kUpstream, fmt::format("unexpected HTTP status {}", status_));
    }
    restart();
    return {};
  }
  for (const auto& field : message) {
    headers_.add({field.name_string().data(), field.name_string().size()},
                 {field.value().data(), field.value().size()});
  }
  if (const auto coding = headers_.get("Transfer-Encoding");
      coding && !equal_names(*coding, "chunked")) {
    return fail(ErrorCode::kUpstream,
                fmt::format("the HTTP response uses Transfer-Encoding '{}'", *coding));
  }
  head_done_ = true;
  return {};
}

Result<void> ResponseDecoder::end_of_stream() {
  error_code error;
  if (head_done_ && !done()) {
    parser_->parser.put_eof(error);
  }
  if (!head_done_ || error) {
    return fail(ErrorCode::kUnavailable, "the connection closed before the end of the response");
  }
  return {};
}

std::string status_line(int status) {
  return fmt::format("HTTP/1.1 {} {}\r\n", status, reason_phrase(status));
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  std::ranges::copy_if(
      value, std::back_inserter(out), [](char c) { return is_header_value({&c, 1}); });
  out.append("\r\n");
}

std::string chunk_header(std::size_t size) {
  return fmt::format("{:x}\r\n", size);
}

bool status_has_no_body(int status) {
  return status < 200 || status == 204 || status == 304;
}

}  // namespace genesis::net
