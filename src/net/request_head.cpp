#include "net/request_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace genesis::net {

namespace {

constexpr std::string_view kCrLf = "\r\n";
// Longer than any registered method (RFC 9110 section 18.2).
constexpr std::size_t kMaxMethod = 32;

std::unexpected<Refusal> refuse(int status, std::string message) {
  return std::unexpected(Refusal{.status = status, .message = std::move(message)});
}

std::unexpected<Refusal> bad(std::string message) {
  return refuse(400, std::move(message));
}

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

bool is_target_char(char c) {
  return c > 0x20 && c < 0x7f && c != '#';
}

bool is_authority_char(char c) {
  return is_target_char(c) && !std::string_view("/?@\\,\"<>").contains(c);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::expected<std::string, Refusal> decode_path(std::string_view raw) {
  std::string path;
  path.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      const int high = i + 2 < raw.size() ? hex_value(raw[i + 1]) : -1;
      const int low = i + 2 < raw.size() ? hex_value(raw[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return bad("the path holds a '%' that is not followed by two hexadecimal digits");
      }
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') {
      return bad("the path holds a control character or a backslash");
    }
    path.push_back(c);
  }
  if (path.contains("..")) {
    return bad("the path holds '..'");
  }
  return path;
}

// The request line: method SP target SP version, single spaces, nothing else.
std::expected<RequestHead, Refusal> parse_request_line(std::string_view line,
                                                       std::string_view& target) {
  RequestHead head;
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) {
    return bad("the request line is not 'METHOD target HTTP/1.1'");
  }
  head.method = std::string(line.substr(0, first));
  target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_http_token(head.method) || head.method.size() > kMaxMethod) {
    return bad("the method is not a token");
  }
  if (target.empty() || !std::ranges::all_of(target, is_target_char)) {
    return bad("the request target is empty or holds a character that must be percent-encoded");
  }
  if (version == "HTTP/1.0") {
    head.http11 = false;
    head.keep_alive = false;
  } else if (version != "HTTP/1.1") {
    const bool other = version.starts_with("HTTP/") && !version.contains(' ');
    return refuse(other ? 505 : 400, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  return head;
}

std::expected<void, Refusal> parse_field_line(std::string_view line, Headers& headers) {
  if (line.front() == ' ' || line.front() == '\t') {
    return bad("folded header lines are not accepted");
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_http_token(line.substr(0, colon))) {
    return bad("a header line has no valid name before its ':'");
  }
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
    value.remove_prefix(1);
  }
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) {
    value.remove_suffix(1);
  }
  if (!is_header_value(value)) {
    return bad(
        fmt::format("the value of header '{}' holds a control character", line.substr(0, colon)));
  }
  headers.add(line.substr(0, colon), value);
  return {};
}

// The only value of `name`, nullopt when absent; a second one is refused.
std::expected<std::optional<std::string_view>, Refusal> single(const Headers& headers,
                                                               std::string_view name) {
  std::optional<std::string_view> found;
  for (const auto& [key, value] : headers.all()) {
    if (equal_names(key, name)) {
      if (found) {
        return bad(fmt::format("header '{}' is given twice", name));
      }
      found = value;
    }
  }
  return found;
}

// Splits the target into path and query; an absolute form overrides Host (RFC 9112 section 3.2.2).
std::expected<void, Refusal> take_target(std::string_view target, RequestHead& head) {
  if (target == "*" && head.method == "OPTIONS") {
    head.path = "*";
    return {};
  }
  if (!target.starts_with('/')) {
    const auto scheme = target.find("://");
    const std::string_view name = target.substr(0, std::min(scheme, target.size()));
    if (scheme == std::string_view::npos ||
        !(equal_names(name, "http") || equal_names(name, "https"))) {
      return bad("the request target must begin with '/' or be an http URL");
    }
    target.remove_prefix(scheme + 3);
    const auto end = std::min(target.find_first_of("/?"), target.size());
    const std::string_view authority = target.substr(0, end);
    if (authority.empty() || !std::ranges::all_of(authority, is_authority_char)) {
      return bad("the request target has no valid host");
    }
    head.headers.set("Host", authority);
    target.remove_prefix(end);
  }
  const auto question = std::min(target.find('?'), target.size());
  const std::string_view raw_path = target.substr(0, question);
  auto path = decode_path(raw_path.empty() ? "/" : raw_path);
  if (!path) {
    return std::unexpected(path.error());
  }
  head.path = std::move(*path);
  if (question < target.size()) {
    head.query = std::string(target.substr(question + 1));
  }
  return {};
}

// Where the body ends: one Content-Length of digits, or exactly "chunked", never both.
std::expected<void, Refusal> take_framing(RequestHead& head) {
  const auto length = single(head.headers, "Content-Length");
  const auto encoding = single(head.headers, "Transfer-Encoding");
  if (!length || !encoding) {
    return std::unexpected(!length ? length.error() : encoding.error());
  }
  if (*length && *encoding) {
    return bad("Content-Length and Transfer-Encoding exclude each other");
  }
  if (*encoding) {
    if (!head.http11) {
      return bad("Transfer-Encoding needs HTTP/1.1");
    }
    if (!equal_names(**encoding, "chunked")) {
      return bad("the only Transfer-Encoding understood is 'chunked'");
    }
    head.chunked = true;
  }
  if (*length) {
    std::uint64_t bytes = 0;
    const std::string_view text = **length;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
      return bad("Content-Length is not a number");
    }
    head.content_length = bytes;
  }
  return {};
}

void take_connection(RequestHead& head) {
  for (const auto& [name, value] : head.headers.all()) {
    if (!equal_names(name, "Connection")) {
      continue;
    }
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      std::string_view option = rest.substr(0, comma);
      option.remove_prefix(std::min(option.find_first_not_of(" \t"), option.size()));
      option = option.substr(0, option.find_last_not_of(" \t") + 1);
      if (equal_names(option, "close")) {
        head.keep_alive = false;
        return;
      }
      if (equal_names(option, "keep-alive")) {
        head.keep_alive = true;
      }
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
}

std::expected<void, Refusal> take_fields(RequestHead& head) {
  const auto host = single(head.headers, "Host");
  if (!host) {
    return std::unexpected(host.error());
  }
  if (head.http11 && !*host) {
    return bad("HTTP/1.1 requests need a Host header");
  }
  if (*host && !std::ranges::all_of(**host, is_authority_char)) {
    return bad("the Host header is not a host");
  }
  if (const auto coding = head.headers.get("Content-Encoding");
      coding && !equal_names(*coding, "identity")) {
    return refuse(415,
                  "compressed request bodies are not accepted; send the body without "
                  "Content-Encoding");
  }
  if (const auto expect = head.headers.get("Expect"); expect && head.http11) {
    if (!equal_names(*expect, "100-continue")) {
      return refuse(417, "the only expectation understood is '100-continue'");
    }
    head.expect_continue = true;
  }
  take_connection(head);
  return {};
}

}  // namespace

bool is_http_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

bool is_header_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
}

std::expected<std::size_t, Refusal> check_partial_head(std::string_view bytes, std::size_t from) {
  for (std::size_t i = from; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '\0') {
      return bad("the request head holds a NUL byte");
    }
    if (c == '\n' && (i == 0 || bytes[i - 1] != '\r')) {
      return bad("lines of the request head must end with CR LF");
    }
    if (c == '\r' && i + 1 < bytes.size() && bytes[i + 1] != '\n') {
      return bad("the request head holds a CR that is not followed by LF");
    }
  }
  // A final CR is looked at again together with the byte after it.
  return bytes.ends_with('\r') ? bytes.size() - 1 : bytes.size();
}

std::expected<RequestHead, Refusal> parse_request_head(std::string_view head_text) {
  const auto checked = check_partial_head(head_text, 0);
  if (!checked) {
    return std::unexpected(checked.error());
  }
  auto line_end = head_text.find(kCrLf);
  std::string_view target;
  auto head = parse_request_line(head_text.substr(0, line_end), target);
  if (!head) {
    return head;
  }
  while (line_end != std::string_view::npos) {
    head_text.remove_prefix(line_end + kCrLf.size());
    line_end = head_text.find(kCrLf);
    const std::string_view line = head_text.substr(0, line_end);
    if (line.empty()) {
      break;
    }
    if (head->headers.all().size() == kMaxHeaderFields) {
      return refuse(431, fmt::format("more than {} header fields", kMaxHeaderFields));
    }
    if (auto taken = parse_field_line(line, head->headers); !taken) {
      return std::unexpected(taken.error());
    }
  }
  for (const auto step : {take_framing, take_fields}) {
    if (auto taken = step(*head); !taken) {
      return std::unexpected(taken.error());
    }
  }
  if (auto taken = take_target(target, *head); !taken) {
    return std::unexpected(taken.error());
  }
  return head;
}

}  // namespace genesis::net
