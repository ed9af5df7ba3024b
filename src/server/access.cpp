#include "server/access.h"

#include "base/sha256.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace genesis::server {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_no_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

std::optional<std::string> non_empty(std::string_view token) {
  token = trim(token);
  return token.empty() ? std::nullopt : std::optional(std::string(token));
}

// "[::1]:80" -> "[::1]", "localhost:80" -> "localhost".
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    return end == std::string_view::npos ? host : host.substr(0, end + 1);
  }
  return host.substr(0, host.find(':'));
}

Result<void> check_browser_guard(const net::Headers& headers, const GatewayOptions& options) {
  const auto host = headers.get("Host");
  if (!host || !host_allowed(*host, options.allowed_hosts)) {
    return fail(ErrorCode::kPermissionDenied,
                "without a key this server answers only to its own host names",
                "use http://127.0.0.1:PORT, or send a key from 'genesis key create'");
  }
  const auto origin = headers.get("Origin");
  if (!origin) {
    return {};
  }
  const auto scheme_end = origin->find("://");
  if (scheme_end == std::string_view::npos ||
      !host_allowed(origin->substr(scheme_end + 3), options.allowed_hosts)) {
    return fail(ErrorCode::kPermissionDenied,
                "without a key this server answers no requests from other web sites",
                "send a key from 'genesis key create'");
  }
  return {};
}

// A page that has rebound its name to this address sends that name.
Result<void> check_host(const net::Headers& headers, const GatewayOptions& options) {
  if (host_allowed(headers.get("Host").value_or(""), options.allowed_hosts)) {
    return {};
  }
  return fail(ErrorCode::kPermissionDenied,
              "this server does not go by the name in the Host header",
              "add it to server.allowed_hosts");
}

bool is_metrics_key(std::string_view token, const GatewayOptions& options) {
  return !options.metrics_key.empty() && equal_constant_time(token, options.metrics_key);
}

std::unexpected<Error> key_needed() {
  return fail(ErrorCode::kUnauthenticated,
              "no API key was sent",
              "send 'Authorization: Bearer KEY' with a key from 'genesis key create'");
}

}  // namespace

Result<std::optional<std::string>> request_token(const net::Headers& headers) {
  const auto authorization = headers.get("Authorization");
  if (authorization && !trim(*authorization).empty()) {
    const std::string_view value = trim(*authorization);
    const std::string_view scheme = value.substr(0, value.find(' '));
    if (!equal_no_case(scheme, "bearer")) {
      return fail(ErrorCode::kUnauthenticated,
                  "the Authorization header must use the Bearer scheme",
                  "send 'Authorization: Bearer KEY'");
    }
    return non_empty(value.substr(scheme.size()));
  }
  return non_empty(headers.get("x-api-key").value_or(""));
}

bool host_allowed(std::string_view host, const std::vector<std::string>& allowed) {
  const std::string_view name = without_port(host);
  return !name.empty() && std::ranges::any_of(allowed, [&](const std::string& entry) {
    return equal_no_case(entry, host) || equal_no_case(entry, name);
  });
}

Result<Principal> authorize(Access access,
                            const net::ServerRequest& request,
                            const GatewayOptions& options,
                            const Authenticator& auth) {
  if (access == Access::kPublic) {
    return Principal{};
  }
  if (options.check_host && !request.from_unix_socket) {
    GENESIS_TRY_VOID(check_host(request.headers, options));
  }
  if (access == Access::kMetrics && options.public_metrics) {
    return Principal{};
  }
  GENESIS_TRY(const auto token, request_token(request.headers));
  if (token && access == Access::kMetrics && is_metrics_key(*token, options)) {
    return Principal{.key_id = "metrics", .tenant = {}, .admin = false, .models = {}};
  }
  if (token) {
    GENESIS_TRY(auto principal, auth.authenticate(*token));
    // A placeholder that stands for no key gets no more trust than no key.
    if (principal.key_id == kKeylessId && options.require_key) {
      return key_needed();
    }
    if (principal.key_id == kKeylessId && !request.from_unix_socket) {
      GENESIS_TRY_VOID(check_browser_guard(request.headers, options));
    }
    // The figures of all tenants are not for the key of one.
    const bool needs_admin =
        access == Access::kAdmin || (access == Access::kMetrics && options.require_key);
    if (needs_admin && !principal.admin) {
      return fail(
          ErrorCode::kPermissionDenied,
          "this route needs an admin key",
          "the first start of 'genesis serve' made one; 'genesis key create --admin' another");
    }
    return principal;
  }
  // The gateway in front speaks over a socket that nobody else can open.
  const bool from_gateway = options.behind_gateway && request.from_unix_socket;
  if ((access == Access::kAdmin && !from_gateway) || options.require_key) {
    return key_needed();
  }
  if (!request.from_unix_socket) {
    GENESIS_TRY_VOID(check_browser_guard(request.headers, options));
  }
  GENESIS_TRY(auto principal, auth.authenticate(std::nullopt));
  principal.admin = false;
  return principal;
}

Result<void> check_model_scope(const Principal& principal, std::string_view model) {
  if (principal.models.empty() || std::ranges::count(principal.models, model) > 0) {
    return {};
  }
  Error error;
  error.code = ErrorCode::kPermissionDenied;
  error.param = "model";
  error.message = fmt::format("this key may not use model '{}'", model);
  error.hint = fmt::format("it may use: {}", fmt::join(principal.models, ", "));
  return std::unexpected(std::move(error));
}

}  // namespace genesis::server
