#include "provider/openai.h"

#include "provider/openai_embed.h"
#include "provider/openai_request.h"
#include "provider/openai_response.h"

#include <utility>

namespace genesis::provider {

namespace {

net::Headers make_headers(const UpstreamOptions& options, const ChatRequest& request) {
  net::Headers headers;
  if (request.dialect == Dialect::kOpenAiChat || request.dialect == Dialect::kEmbeddings) {
    for (const auto& [name, value] : request.input->native_headers) {
      headers.set(name, value);
    }
  }
  if (!options.api_key.empty()) {
    headers.add("Authorization", "Bearer " + options.api_key);
  }
  return headers;
}

}  // namespace

OpenAiProvider::OpenAiProvider(net::Client& client, const Clock& clock, UpstreamOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

Task<Result<Usage>> OpenAiProvider::chat(const ChatRequest& request, ChatSink& sink) {
  UpstreamCall call{.headers = make_headers(options_, request)};
  if (is_embed(request.dialect)) {
    GENESIS_CO_TRY(call.body, openai_embed_body(request, options_));
    call.target = "/embeddings";
    OpenAiEmbedReader reader(request, options_.served.endpoint, clock_);
    co_return co_await dispatch_call(client_, options_, request, sink, std::move(call), reader);
  }
  ChatRequest asked = request;
  asked.stream = request.stream || options_.always_stream;
  call.stream = asked.stream;
  call.target = std::string(openai_target(request.dialect));
  GENESIS_CO_TRY(call.body,
                 openai_request_body(asked, model_of(options_, request), options_.token_ids));
  OpenAiAnswerReader reader(request,
                            {.endpoint = options_.served.endpoint,
                             .raw = request.dialect == Dialect::kOpenAiChat ||
                                    request.dialect == Dialect::kOpenAiCompletion},
                            clock_);
  co_return co_await dispatch_call(client_, options_, request, sink, std::move(call), reader);
}

}  // namespace genesis::provider
