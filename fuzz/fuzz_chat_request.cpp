// Fuzz target: any bytes as the body of each inference route. A parser may refuse them by name;
// what it accepts must keep the promises that the model and the writers build on.
#include "base/check.h"
#include "base/json.h"
#include "server/errors.h"
#include "server/parse_anthropic.h"
#include "server/parse_embed.h"
#include "server/parse_openai.h"
#include "server/parse_responses.h"
#include "server/parse_tgi.h"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace genesis::server {
namespace {

void check_error(const Error& error) {
  GENESIS_CHECK(!error.message.empty());
  GENESIS_CHECK(error.code == ErrorCode::kInvalidArgument ||
                error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kPayloadTooLarge);
  for (const Wire wire : {Wire::kOpenAi, Wire::kTgi, Wire::kAnthropic, Wire::kTei}) {
    GENESIS_CHECK(parse_json(error_body(error, wire, "req-1")).has_value());
  }
}

void check_call(const Result<InferenceCall>& call) {
  if (!call) {
    check_error(call.error());
    return;
  }
  const ChatRequest& request = call->request;
  GENESIS_CHECK(request.n >= 1 && request.n <= 8);
  GENESIS_CHECK(is_embed(request.dialect) || validate_sampling(request.sampling).has_value());
  GENESIS_CHECK(request.input != nullptr);
  const ChatInput& input = *request.input;
  if (is_chat(request.dialect)) {
    GENESIS_CHECK(!input.messages.empty());
    for (const ChatMessage& message : input.messages) {
      GENESIS_CHECK(!message.role.empty());
      GENESIS_CHECK(message.tool_calls_json.empty() || parse_json(message.tool_calls_json));
      GENESIS_CHECK(message.parts_json.empty() || parse_json(message.parts_json));
    }
    // What goes to upstreams that speak OpenAI must be a chat that we would take ourselves.
    GENESIS_CHECK(parse_chat_request(input.body).has_value());
    GENESIS_CHECK(input.tools_json.empty() || parse_json(input.tools_json));
  }
  if (is_embed(request.dialect)) {
    GENESIS_CHECK(input.embed.has_value() && input.embed->size() > 0 && !request.stream);
    GENESIS_CHECK(input.embed->texts.empty() || input.embed->token_lists.empty());
    GENESIS_CHECK(input.embed->pairs.empty() ||
                  input.embed->pairs.size() == input.embed->texts.size());
    return;
  }
  if (request.dialect == Dialect::kTgi) {
    GENESIS_CHECK(!input.prompt.empty() && request.n == 1);
  }
}

}  // namespace
}  // namespace genesis::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace genesis::server;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  check_call(parse_chat_request(body));
  check_call(parse_completion_request(body));
  check_call(parse_anthropic_request(body, AnthropicRoute::kMessages));
  check_call(parse_anthropic_request(body, AnthropicRoute::kCountTokens));
  check_call(parse_responses_request(body));
  for (const auto parse : {parse_embeddings_request,
                           parse_tei_embed_request,
                           parse_tei_predict_request,
                           parse_tei_rerank_request,
                           parse_tei_similarity_request,
                           parse_rerank_request}) {
    check_call(parse(body));
  }
  for (const TgiRoute route : {TgiRoute::kCompat, TgiRoute::kGenerate, TgiRoute::kGenerateStream}) {
    check_call(parse_tgi_request(body, route));
  }
  return 0;
}
