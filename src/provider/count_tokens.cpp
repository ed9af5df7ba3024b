#include "provider/count_tokens.h"

#include "base/json.h"
#include "provider/anthropic_request.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <utility>

namespace genesis::provider {

namespace {

// {"input_tokens": 12}
constexpr std::size_t kLongestAnswer = 4096;

Result<std::int64_t> read_count(std::string_view body, const UpstreamOptions& options) {
  const auto parsed = parse_json(body);
  const auto* object = parsed ? parsed->if_object() : nullptr;
  const auto* count = object == nullptr ? nullptr : object->if_contains("input_tokens");
  if (count == nullptr || !count->is_int64() || count->get_int64() < 0) {
    return fail(ErrorCode::kUpstream,
                fmt::format("endpoint '{}' answered no count of tokens", options.served.endpoint));
  }
  return count->get_int64();
}

}  // namespace

Task<Result<std::int64_t>> count_tokens(net::Client& client,
                                        const UpstreamOptions& options,
                                        const ChatRequest& request,
                                        CancelToken cancel) {
  net::ClientRequest call{.base = options.base};
  GENESIS_CO_TRY(call.body, anthropic_count_body(request, options));
  call.target =
      options.base.path.ends_with("/v1") ? "/messages/count_tokens" : "/v1/messages/count_tokens";
  call.headers = anthropic_headers(options, request);
  call.headers.set("content-type", "application/json");
  for (const auto& [name, value] : options.headers) {
    call.headers.set(name, value);
  }
  auto sent = co_await client.send(call, cancel);
  if (!sent && sent.error().type == net::kStaleConnection) {
    sent = co_await client.send(std::move(call), std::move(cancel));
  }
  GENESIS_CO_TRY(const auto response, std::move(sent));
  GENESIS_CO_TRY(const std::string body, co_await net::read_body(*response, kLongestAnswer));
  if (response->status() != 200) {
    co_return fail(ErrorCode::kUpstream,
                   fmt::format("endpoint '{}' answered {} to a count of tokens",
                               options.served.endpoint,
                               response->status()));
  }
  co_return read_count(body, options);
}

}  // namespace genesis::provider
