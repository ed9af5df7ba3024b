// HTTP words shared by server and client: headers, URLs, addresses. No sockets here.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::net {

// True when two header names are the same but for ASCII case.
bool equal_names(std::string_view a, std::string_view b);

// Header fields in order; names compare without case.
class Headers {
 public:
  void add(std::string_view name, std::string_view value);
  void set(std::string_view name, std::string_view value);
  // The first value of that name.
  std::optional<std::string_view> get(std::string_view name) const;

  const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Where to listen or connect: "127.0.0.1:8080", "[::1]:0", "localhost:80", "unix:/run/x.sock".
struct Address {
  std::string host;  // empty for Unix sockets
  std::uint16_t port = 0;
  std::string unix_path;  // empty for TCP

  bool is_unix() const { return !unix_path.empty(); }

  // True for Unix sockets, 127.0.0.0/8, ::1 and "localhost".
  bool is_loopback() const;
  std::string to_string() const;

  bool operator==(const Address&) const = default;
};

Result<Address> parse_address(std::string_view text);

// An origin plus a path prefix: "https://api.example.com/v1", "unix:/run/engine.sock", and with a
// prefix behind a socket, as nginx writes it, "unix:/run/engine.sock:/v1". User names and passwords
// in a URL are refused.
struct BaseUrl {
  bool tls = false;
  Address address;
  std::string path;  // "" or "/v1", without trailing slash
  std::string host_header;

  bool operator==(const BaseUrl&) const = default;
};

Result<BaseUrl> parse_base_url(std::string_view text);

}  // namespace genesis::net
