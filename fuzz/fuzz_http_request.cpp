// Fuzzes the request decoder: one go and byte by byte must agree, and what is accepted must keep
// the promises of RequestHead.
#include "net/http_codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using genesis::net::RequestDecoder;

constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kBodyBytes = 4096;

// What one way of feeding the bytes made of them.
struct Seen {
  std::vector<std::string> requests;
  int refused = 0;

  bool operator==(const Seen&) const = default;
};

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

void check_promises(RequestDecoder& decoder) {
  const auto& head = decoder.head();
  require(head.path == "*" || head.path.starts_with('/'));
  require(!head.path.contains("..") && !head.path.contains('\\') && !head.path.contains('\0'));
  require(genesis::net::is_http_token(head.method));
  require(!head.http11 || head.headers.get("Host").has_value());
  require(!(head.chunked && head.content_length));
  require(decoder.body().size() <= kBodyBytes);
  if (!head.chunked) {
    require(decoder.body().size() == head.content_length.value_or(0));
  }
  for (const auto& [name, value] : head.headers.all()) {
    require(genesis::net::is_http_token(name) && genesis::net::is_header_value(value));
  }
}

Seen feed(std::string_view bytes, std::size_t piece) {
  Seen seen;
  std::string in;
  auto decoder = std::make_unique<RequestDecoder>(kHeaderBytes, kBodyBytes);
  for (;;) {
    const auto step = decoder->advance(in);
    if (step == RequestDecoder::Step::kDone) {
      check_promises(*decoder);
      const auto& head = decoder->head();
      seen.requests.push_back(head.method + ' ' + head.path + '?' + head.query + '\n' +
                              decoder->body());
      decoder = std::make_unique<RequestDecoder>(kHeaderBytes, kBodyBytes);
    } else if (step == RequestDecoder::Step::kRefused) {
      seen.refused = decoder->refusal().status;
      return seen;
    } else if (step == RequestDecoder::Step::kNeedMore) {
      if (bytes.empty()) {
        return seen;
      }
      in.append(bytes.substr(0, piece));
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Seen whole = feed(bytes, size + 1);
  const Seen single = feed(bytes, 1);
  require(whole.requests == single.requests);
  // The reason may differ (431 against 400) where two limits are passed at once; being refused may
  // not.
  require((whole.refused != 0) == (single.refused != 0));
  return 0;
}
