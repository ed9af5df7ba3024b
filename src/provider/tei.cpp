#include "provider/tei.h"

#include "provider/tei_wire.h"

#include <utility>

namespace genesis::provider {

TeiProvider::TeiProvider(net::Client& client, const Clock& clock, UpstreamOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

Task<Result<Usage>> TeiProvider::chat(const ChatRequest& request, ChatSink& sink) {
  if (!is_embed(request.dialect) || !request.input->embed) {
    co_return cannot(options_, "answer a prompt or hold a conversation: it serves vectors");
  }
  UpstreamCall call{.target = std::string(tei_target(request.input->embed->task)),
                    .body = tei_request_body(request)};
  if (!options_.api_key.empty()) {
    call.headers.add("Authorization", "Bearer " + options_.api_key);
  }
  TeiReader reader(request, options_.served.endpoint, clock_);
  co_return co_await dispatch_call(client_, options_, request, sink, std::move(call), reader);
}

}  // namespace genesis::provider
