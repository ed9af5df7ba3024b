// GET over net::Client: redirects, and a guard against servers that go silent.
#include "hub/fetcher.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/url.hpp>
#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace genesis::hub {

namespace {

constexpr int kMaxRedirects = 5;
// Long enough for an index that builds its page on demand, short enough to notice a dead proxy.
constexpr std::chrono::seconds kSilenceLimit{30};

struct Target {
  net::BaseUrl base;
  std::string target;
  std::string origin;  // "https://host:443", lower case
  bool tls = false;
};

Result<Target> parse_target(const std::string& url) {
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed || (parsed->scheme() != "https" && parsed->scheme() != "http") ||
      parsed->encoded_host().empty()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not an http or https address", url));
  }
  if (parsed->has_userinfo()) {
    // The address itself is not repeated: it holds a password.
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "the address at host {} carries a user name or password, which is not supported",
            std::string(parsed->encoded_host())),
        "use an index or endpoint without credentials in its address");
  }
  Target target;
  target.tls = parsed->scheme() == "https";
  const std::string authority(parsed->encoded_host_and_port());
  GENESIS_TRY(
      target.base,
      net::parse_base_url(fmt::format("{}://{}", target.tls ? "https" : "http", authority)));
  target.target = std::string(parsed->encoded_target());
  if (!target.target.starts_with('/')) {
    target.target.insert(0, "/");
  }
  const std::string port(parsed->port());
  target.origin = fmt::format("{}:{}",
                              std::string(parsed->encoded_host()),
                              !port.empty() ? port : std::string(target.tls ? "443" : "80"));
  for (char& c : target.origin) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return target;
}

// Cancels a request when its caller does, or when nothing has arrived for kSilenceLimit.
class SilenceGuard : public std::enable_shared_from_this<SilenceGuard> {
 public:
  explicit SilenceGuard(const Executor& executor) : timer_(executor) {}

  void follow(const CancelToken& caller) {
    hook_ = caller.on_cancel([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->source_.cancel();
      }
    });
  }

  CancelToken token() const { return source_.token(); }

  void arm() {
    timer_.expires_after(kSilenceLimit);
    timer_.async_wait(
        [weak = weak_from_this(), turn = ++turn_](const boost::system::error_code& error) {
          const auto self = weak.lock();
          // A timer that fired just before disarm() still calls; the turn tells it that it is late.
          if (self && !error && self->turn_ == turn) {
            self->silent_ = true;
            self->source_.cancel();
          }
        });
  }

  void disarm() {
    ++turn_;
    timer_.cancel();
  }

  Error explain(Error error, const std::string& url) const {
    if (silent_ && error.code == ErrorCode::kCancelled) {
      error = Error{.code = ErrorCode::kTimeout,
                    .message = fmt::format("{} sent nothing for {} s", url, kSilenceLimit.count()),
                    .hint = "check the network, then run the same command again"};
    }
    return error;
  }

 private:
  boost::asio::steady_timer timer_;
  CancelSource source_;
  CancelHook hook_;
  std::uint64_t turn_ = 0;
  bool silent_ = false;
};

class NetFetched final : public Fetched {
 public:
  NetFetched(std::unique_ptr<net::ClientResponse> response,
             std::shared_ptr<SilenceGuard> guard,
             std::string url,
             std::vector<net::Headers> redirects)
      : response_(std::move(response)),
        guard_(std::move(guard)),
        url_(std::move(url)),
        redirects_(std::move(redirects)) {}

  int status() const override { return response_->status(); }

  std::optional<std::string> header(std::string_view name) const override {
    if (const auto value = response_->headers().get(name)) {
      return std::string(*value);
    }
    for (std::size_t i = 0; name.starts_with("X-") && i < redirects_.size(); ++i) {
      if (const auto value = redirects_[i].get(name)) {
        return std::string(*value);
      }
    }
    return std::nullopt;
  }

  const std::string& url() const override { return url_; }

  Task<Result<std::optional<std::string>>> read_some() override {
    guard_->arm();
    auto piece = co_await response_->read_some();
    guard_->disarm();
    if (!piece) {
      co_return std::unexpected(guard_->explain(std::move(piece).error(), url_));
    }
    co_return piece;
  }

 private:
  std::unique_ptr<net::ClientResponse> response_;
  std::shared_ptr<SilenceGuard> guard_;
  std::string url_;
  std::vector<net::Headers> redirects_;
};

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

net::Headers without_authorization(const net::Headers& headers) {
  constexpr std::string_view kName = "authorization";
  net::Headers kept;
  for (const auto& [name, value] : headers.all()) {
    const bool secret =
        std::ranges::equal(name, kName, [](char a, char b) { return (a | 0x20) == b; });
    if (!secret) {
      kept.add(name, value);
    }
  }
  return kept;
}

class NetFetcher final : public Fetcher {
 public:
  explicit NetFetcher(net::Client& client) : client_(client) {}

  Task<Result<std::unique_ptr<Fetched>>> get(FetchRequest request) override {
    const auto guard =
        std::make_shared<SilenceGuard>(Executor(co_await boost::asio::this_coro::executor));
    guard->follow(request.cancel);
    std::vector<net::Headers> redirects;
    GENESIS_CO_TRY(Target target, parse_target(request.url));
    for (;;) {
      net::ClientRequest out{.method = "GET",
                             .base = target.base,
                             .target = target.target,
                             .headers = request.headers,
                             .body = {}};
      guard->arm();
      auto response = co_await client_.send(std::move(out), guard->token());
      guard->disarm();
      if (!response) {
        co_return std::unexpected(guard->explain(std::move(response).error(), request.url));
      }
      const auto location = (*response)->headers().get("Location");
      if (!is_redirect((*response)->status()) || !location) {
        co_return std::make_unique<NetFetched>(
            std::move(*response), guard, request.url, std::move(redirects));
      }
      if (redirects.size() == kMaxRedirects) {
        co_return fail(ErrorCode::kUpstream,
                       fmt::format("{} redirects more than {} times", request.url, kMaxRedirects));
      }
      GENESIS_CO_TRY(std::string next_url, resolve_url(request.url, *location));
      GENESIS_CO_TRY(Target next, parse_target(next_url));
      if (target.tls && !next.tls) {
        co_return fail(
            ErrorCode::kUpstream,
            fmt::format("{} redirects from https to http, which is not followed", request.url));
      }
      if (next.origin != target.origin) {
        request.headers = without_authorization(request.headers);
      }
      redirects.push_back((*response)->headers());
      request.url = std::move(next_url);
      target = std::move(next);
    }
  }

 private:
  net::Client& client_;
};

}  // namespace

std::unique_ptr<Fetcher> make_fetcher(net::Client& client) {
  return std::make_unique<NetFetcher>(client);
}

Task<Result<std::string>> fetch_text(Fetcher& fetcher,
                                     FetchRequest request,
                                     std::size_t limit,
                                     std::string what) {
  GENESIS_CO_TRY(const auto response, co_await fetcher.get(std::move(request)));
  if (response->status() != 200) {
    co_return std::unexpected(status_error(response->status(), what, response->url()));
  }
  std::string body;
  for (;;) {
    GENESIS_CO_TRY(const auto piece, co_await response->read_some());
    if (!piece) {
      co_return body;
    }
    if (piece->size() > limit - body.size()) {
      co_return fail(ErrorCode::kUpstream,
                     fmt::format("{} is longer than {} bytes ({})", what, limit, response->url()));
    }
    body += *piece;
  }
}

Error status_error(int status, std::string_view what, std::string_view url) {
  Error error{.code = ErrorCode::kUpstream,
              .message = fmt::format("{}: {} answered with status {}", what, url, status),
              .upstream_status = status};
  if (status == 401 || status == 403) {
    error.code = ErrorCode::kPermissionDenied;
    error.hint = "if it is private or gated, set HF_TOKEN to a token that may read it";
  } else if (status == 404 || status == 410) {
    error.code = ErrorCode::kNotFound;
    error.hint = "check the spelling of the name, file and revision";
  } else if (status == 429) {
    error.code = ErrorCode::kRateLimited;
    error.hint = "wait a little, then run the same command again";
  } else if (status >= 500) {
    error.code = ErrorCode::kUnavailable;
    error.hint = "run the same command again later";
  }
  return error;
}

Result<std::string> resolve_url(std::string_view base, std::string_view reference) {
  const auto parsed_base = boost::urls::parse_uri(base);
  const auto parsed = boost::urls::parse_uri_reference(reference);
  if (!parsed_base || !parsed) {
    return fail(ErrorCode::kUpstream,
                fmt::format("'{}' is not an address (found at {})", reference, base));
  }
  boost::urls::url joined;
  if (const auto done = boost::urls::resolve(*parsed_base, *parsed, joined); !done) {
    return fail(ErrorCode::kUpstream,
                fmt::format("'{}' cannot be followed from {}", reference, base));
  }
  return std::string(joined.buffer());
}

}  // namespace genesis::hub
