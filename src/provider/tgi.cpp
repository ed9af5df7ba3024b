#include "provider/tgi.h"

#include "provider/tgi_wire.h"

#include <utility>

namespace genesis::provider {

TgiProvider::TgiProvider(net::Client& client, const Clock& clock, UpstreamOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

Task<Result<Usage>> TgiProvider::chat(const ChatRequest& request, ChatSink& sink) {
  UpstreamCall call;
  // TGI tells the tokens of the prompt in whole answers only.
  call.stream =
      (request.stream || options_.always_stream) && !request.sampling.want_prompt_logprobs;
  GENESIS_CO_TRY(call.body, tgi_request_body(request, options_));
  call.target = call.stream ? "/generate_stream" : "/generate";
  if (!options_.api_key.empty()) {
    call.headers.add("Authorization", "Bearer " + options_.api_key);
  }
  TgiReader reader(request, options_.served.endpoint, clock_);
  co_return co_await dispatch_call(client_, options_, request, sink, std::move(call), reader);
}

}  // namespace genesis::provider
