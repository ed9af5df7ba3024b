#include "provider/anthropic.h"

#include "provider/anthropic_request.h"
#include "provider/anthropic_response.h"

#include <utility>

namespace genesis::provider {

AnthropicProvider::AnthropicProvider(net::Client& client,
                                     const Clock& clock,
                                     UpstreamOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

Task<Result<Usage>> AnthropicProvider::chat(const ChatRequest& request, ChatSink& sink) {
  UpstreamCall call{.stream = request.stream || options_.always_stream};
  GENESIS_CO_TRY(call.body, anthropic_request_body(request, options_, call.stream));
  call.target = options_.base.path.ends_with("/v1") ? "/messages" : "/v1/messages";
  call.headers = anthropic_headers(options_, request);
  AnthropicReader reader(request, options_.served.endpoint, clock_);
  co_return co_await dispatch_call(client_, options_, request, sink, std::move(call), reader);
}

}  // namespace genesis::provider
