// Strict reading of an HTTP/1.x request head (RFC 9112): everything that two parsers could read in
// two ways is refused, because that is what request smuggling lives on. Pure functions.
#pragma once

#include "net/http.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::net {

// Why a request is not served: the HTTP status to answer with and a sentence for the client.
struct Refusal {
  int status = 400;
  std::string message;
  std::string path = {};  // of the request, when its head was read
};

// A head that passed every check. `path` is decoded once and holds no "..", NUL, control character
// or backslash. An absolute-form target replaces the Host field.
struct RequestHead {
  std::string method;
  std::string path;
  std::string query;
  Headers headers;
  bool http11 = true;
  bool keep_alive = true;
  bool expect_continue = false;
  bool chunked = false;
  std::optional<std::uint64_t> content_length;
};

inline constexpr std::size_t kMaxHeaderFields = 128;

// `head` ends with the empty line that ends a head.
std::expected<RequestHead, Refusal> parse_request_head(std::string_view head);

// Looks at head bytes that are not complete yet: bare LF, bare CR or NUL are refused at once
// instead of waiting for an end that never comes. Checks from `from`, returns where to go on.
std::expected<std::size_t, Refusal> check_partial_head(std::string_view bytes, std::size_t from);

// Token characters of RFC 9110 section 5.6.2; also the check for header names that we send.
bool is_http_token(std::string_view text);
// Visible characters, space, tab and bytes above 0x7f: what may stand in a header value.
bool is_header_value(std::string_view text);

}  // namespace genesis::net
