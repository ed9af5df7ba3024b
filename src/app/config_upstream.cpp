// What an endpoint's upstream wants: its dialect, header fields and secrets.
#include "app/config_read.h"
#include "base/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxSecretBytes = 16 * 1024;

UpstreamDialect dialect_from_name(std::string_view name) {
  return name == "anthropic" ? UpstreamDialect::kAnthropic
         : name == "tgi"     ? UpstreamDialect::kTgi
         : name == "tei"     ? UpstreamDialect::kTei
                             : UpstreamDialect::kOpenAi;
}

// Fields that the HTTP client, the dialects or the ledger set themselves; another value would break
// the exchange or its booking.
bool is_ours(std::string_view name) {
  constexpr std::array<std::string_view, 15> kOurs = {"host",
                                                      "connection",
                                                      "content-length",
                                                      "content-type",
                                                      "content-encoding",
                                                      "transfer-encoding",
                                                      "accept",
                                                      "accept-encoding",
                                                      "expect",
                                                      "te",
                                                      "trailer",
                                                      "upgrade",
                                                      "x-request-id",
                                                      "x-genesis-attempt",
                                                      "traceparent"};
  return std::ranges::any_of(kOurs,
                             [&](std::string_view ours) { return net::equal_names(ours, name); });
}

// Fields whose value is a credential by their very name.
bool is_credential(std::string_view name) {
  constexpr std::array<std::string_view, 6> kCredentials = {
      "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"};
  return std::ranges::any_of(kCredentials,
                             [&](std::string_view each) { return net::equal_names(each, name); });
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
  });
}

// Visible characters with blanks between them.
bool is_header_value(std::string_view value) {
  return !value.empty() && value.size() <= kMaxSecretBytes && value.front() != ' ' &&
         value.back() != ' ' &&
         std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~'; });
}

Result<std::vector<HeaderConfig>> read_headers(const OptionMap& map, const std::string& prefix) {
  std::vector<HeaderConfig> headers;
  const std::string start = prefix + "headers.";
  for (auto at = map.lower_bound(start); at != map.end() && at->first.starts_with(start); ++at) {
    const OptionValue& option = at->second;
    HeaderConfig header{.name = at->first.substr(start.size()), .value = {}, .source = {}};
    const bool secret = option.type == OptionType::kSecret;
    (secret ? header.source : header.value) = option.text;
    std::string_view flaw;
    if (!is_token(header.name)) {
      flaw = "is no name of a header field";
    } else if (is_ours(header.name)) {
      flaw = "is set by genesis itself";
    } else if (!secret && is_credential(header.name)) {
      flaw = "holds a secret: write { env = \"NAME\" } or { file = \"path\" }";
    } else if (!secret && !is_header_value(header.value)) {
      flaw = "needs a value of visible characters";
    }
    if (!flaw.empty()) {
      return config_error(at->first, fmt::format("{}: '{}' {}", option.origin, at->first, flaw));
    }
    headers.push_back(std::move(header));
  }
  return headers;
}

// What a local engine cannot have.
Result<void> check_local(const OptionMap& map,
                         const std::string& prefix,
                         const EndpointConfig& endpoint) {
  for (const std::string key : {"dialect", "headers"}) {
    const auto at = map.lower_bound(prefix + key);
    if (at != map.end() && at->first.starts_with(prefix + key)) {
      return config_error(at->first,
                          fmt::format("{}: endpoint '{}' is local and takes no '{}'",
                                      at->second.origin,
                                      endpoint.name,
                                      key));
    }
  }
  return {};
}

}  // namespace

Result<std::string> read_secret(const std::string& source, const std::string& key) {
  if (source.empty()) {
    return std::string();
  }
  const std::size_t colon = source.find(':');
  const std::string where = source.substr(colon + 1);
  std::string secret;
  if (source.starts_with("env:")) {
    const char* value =
        std::getenv(where.c_str());  // NOLINT(concurrency-mt-unsafe): read once at start
    if (value == nullptr) {
      return config_error(key,
                          fmt::format("the environment variable {} is not set", where),
                          fmt::format("export {}=...", where));
    }
    secret = value;
  } else {
    auto text = read_file(where, kMaxSecretBytes);
    if (!text) {
      return config_error(key, text.error().message);
    }
    secret = std::move(*text);
  }
  while (!secret.empty() && std::string_view(" \t\r\n").contains(secret.back())) {
    secret.pop_back();
  }
  return secret;
}

Result<void> read_upstream(const OptionMap& map,
                           const std::string& prefix,
                           EndpointConfig& endpoint) {
  endpoint.dialect = dialect_from_name(text_of(map, prefix + "dialect"));
  GENESIS_TRY(endpoint.headers, read_headers(map, prefix));
  return endpoint.kind == EndpointKind::kLocal ? check_local(map, prefix, endpoint)
                                               : Result<void>{};
}

Result<EndpointSecrets> read_endpoint_secrets(const EndpointConfig& endpoint) {
  EndpointSecrets secrets;
  const auto unfit = [](const std::string& key, const std::string& source) {
    return config_error(
        key, fmt::format("the secret in {} is empty or has blanks or control characters", source));
  };
  if (!endpoint.api_key_source.empty()) {
    GENESIS_TRY(secrets.api_key, read_secret(endpoint.api_key_source, "api_key"));
    if (!is_header_value(secrets.api_key) || secrets.api_key.contains(' ')) {
      return unfit("api_key", endpoint.api_key_source);
    }
  }
  for (const HeaderConfig& header : endpoint.headers) {
    std::string value = header.value;
    if (!header.source.empty()) {
      const std::string key = "headers." + header.name;
      GENESIS_TRY(value, read_secret(header.source, key));
      if (!is_header_value(value)) {
        return unfit(key, header.source);
      }
    }
    secrets.headers.emplace_back(header.name, std::move(value));
  }
  return secrets;
}

}  // namespace genesis::app
