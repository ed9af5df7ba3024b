// Headers, listen addresses and base URLs: parsing and printing.
#include "net/http.h"

#include <boost/asio/ip/address.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace genesis::net {

namespace {

namespace ip = boost::asio::ip;

// sun_path holds 108 bytes with its final NUL (unix(7)).
constexpr std::size_t kMaxUnixPath = 107;
constexpr std::string_view kUnixScheme = "unix:";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return port;
}

Result<Address> parse_unix(std::string_view text, std::string_view path) {
  if (path.empty() || path.size() > kMaxUnixPath || path.contains('\0')) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' needs a socket path of 1 to {} bytes", text, kMaxUnixPath));
  }
  Address address;
  address.unix_path = std::string(path);
  return address;
}

bool is_valid_host(std::string_view host) {
  if (host.contains(':')) {
    boost::system::error_code error;
    ip::make_address_v6(std::string(host), error);
    return !error;
  }
  return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, is_host_char);
}

std::unexpected<Error> bad_url(std::string_view text, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a usable URL: {}", text, why),
              "write it as https://host[:port][/path] or unix:/path/to.sock[:/path]");
}

// A path prefix without its trailing slashes; empty when it is the root.
std::string trim_slashes(std::string_view path) {
  while (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  return std::string(path);
}

Result<BaseUrl> parse_unix_url(std::string_view text) {
  BaseUrl url;
  std::string_view path = text.substr(kUnixScheme.size());
  if (const auto split = path.find(":/"); split != std::string_view::npos) {
    url.path = trim_slashes(path.substr(split + 1));
    path = path.substr(0, split);
  }
  GENESIS_TRY(url.address, parse_unix(text, path));
  url.host_header = "localhost";
  return url;
}

}  // namespace

bool equal_names(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

void Headers::add(std::string_view name, std::string_view value) {
  fields_.emplace_back(name, value);
}

void Headers::set(std::string_view name, std::string_view value) {
  const auto same = [&](const auto& field) { return equal_names(field.first, name); };
  const auto first = std::ranges::find_if(fields_, same);
  if (first == fields_.end()) {
    add(name, value);
    return;
  }
  first->second = std::string(value);
  fields_.erase(std::remove_if(std::next(first), fields_.end(), same), fields_.end());
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (equal_names(key, name)) {
      return value;
    }
  }
  return std::nullopt;
}

bool Address::is_loopback() const {
  if (is_unix() || equal_names(host, "localhost")) {
    return true;
  }
  boost::system::error_code error;
  const auto address = ip::make_address(host, error);
  if (error) {
    return false;
  }
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return ip::make_address_v4(ip::v4_mapped, address.to_v6()).is_loopback();
  }
  return address.is_loopback();
}

std::string Address::to_string() const {
  if (is_unix()) {
    return fmt::format("unix:{}", unix_path);
  }
  return host.contains(':') ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
  if (text.starts_with(kUnixScheme)) {
    return parse_unix(text, text.substr(kUnixScheme.size()));
  }
  const auto bad = [&] {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not an address", text),
                "write it as 127.0.0.1:8080, [::1]:8080 or unix:/path/to.sock");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return bad();
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port || !is_valid_host(host) || host.contains(':') != bracketed) {
    return bad();
  }
  Address address;
  address.host = std::string(host);
  address.port = *port;
  return address;
}

Result<BaseUrl> parse_base_url(std::string_view text) {
  if (text.starts_with(kUnixScheme)) {
    return parse_unix_url(text);
  }
  const auto parsed = boost::urls::parse_absolute_uri({text.data(), text.size()});
  if (parsed.has_error()) {
    return bad_url(text, "it does not follow RFC 3986 or carries a query or fragment");
  }
  if (parsed->has_userinfo()) {
    return bad_url("...", "a user name or password in a URL would end up in logs");
  }
  if (parsed->has_query()) {
    return bad_url(text, "a query cannot be part of a base URL");
  }
  BaseUrl url;
  url.tls = parsed->scheme_id() == boost::urls::scheme::https;
  if (!url.tls && parsed->scheme_id() != boost::urls::scheme::http) {
    return bad_url(text, "the scheme must be http, https or unix");
  }
  const std::uint16_t default_port = url.tls ? 443 : 80;
  const auto port_text = parsed->port();
  const auto port = parsed->has_port() && !port_text.empty()
                        ? parse_port({port_text.data(), port_text.size()})
                        : default_port;
  url.address.host = parsed->host_address();
  if (!port || *port == 0 || !is_valid_host(url.address.host)) {
    return bad_url(text, "host or port is not valid");
  }
  url.address.port = *port;
  std::ranges::transform(url.address.host, url.address.host.begin(), lower);
  const auto path = parsed->encoded_path();
  url.path = trim_slashes({path.data(), path.size()});
  const bool is_v6 = url.address.host.contains(':');
  url.host_header = is_v6 ? fmt::format("[{}]", url.address.host) : url.address.host;
  if (*port != default_port) {
    url.host_header += fmt::format(":{}", *port);
  }
  return url;
}

}  // namespace genesis::net
