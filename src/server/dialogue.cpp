#include "server/dialogue.h"

#include "base/check.h"
#include "server/parse_anthropic.h"
#include "server/parse_embed.h"
#include "server/parse_openai.h"
#include "server/parse_responses.h"
#include "server/parse_tgi.h"
#include "server/write_anthropic.h"
#include "server/write_embed.h"
#include "server/write_openai.h"
#include "server/write_responses.h"
#include "server/write_tgi.h"

#include <array>

namespace genesis::server {

namespace {

template <TgiRoute kRoute>
Result<InferenceCall> parse_tgi(std::string_view body) {
  return parse_tgi_request(body, kRoute);
}

Result<InferenceCall> parse_messages_request(std::string_view body) {
  return parse_anthropic_request(body, AnthropicRoute::kMessages);
}

std::string tgi_whole(const AnswerMeta& meta,
                      const ServedBy&,
                      const CollectedAnswer& answer,
                      const Usage& usage) {
  return tgi_body(meta, answer, usage);
}

std::string tgi_array(const AnswerMeta& meta,
                      const ServedBy&,
                      const CollectedAnswer& answer,
                      const Usage& usage) {
  return "[" + tgi_body(meta, answer, usage) + "]";
}

constexpr std::array kDialogues{
    Dialogue{.route = InferenceRoute::kChat,
             .parse = parse_chat_request,
             .whole = chat_body,
             .stream = make_chat_stream,
             .id_prefix = "chatcmpl-",
             .prompt_field = "messages"},
    Dialogue{.route = InferenceRoute::kCompletion,
             .parse = parse_completion_request,
             .whole = completion_body,
             .stream = make_completion_stream,
             .id_prefix = "cmpl-",
             .prompt_field = "prompt"},
    Dialogue{.route = InferenceRoute::kTgiCompat,
             .parse = parse_tgi<TgiRoute::kCompat>,
             .whole = tgi_array,
             .stream = make_tgi_stream,
             .id_prefix = "cmpl-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kTgiGenerate,
             .parse = parse_tgi<TgiRoute::kGenerate>,
             .whole = tgi_whole,
             .stream = make_tgi_stream,
             .id_prefix = "cmpl-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kTgiGenerateStream,
             .parse = parse_tgi<TgiRoute::kGenerateStream>,
             .whole = tgi_whole,
             .stream = make_tgi_stream,
             .id_prefix = "cmpl-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kMessages,
             .parse = parse_messages_request,
             .whole = message_body,
             .stream = make_message_stream,
             .id_prefix = "msg_",
             .prompt_field = "messages"},
    Dialogue{.route = InferenceRoute::kResponses,
             .parse = parse_responses_request,
             .whole = response_body,
             .stream = make_response_stream,
             .id_prefix = "resp_",
             .prompt_field = "input"},
    Dialogue{.route = InferenceRoute::kEmbeddings,
             .parse = parse_embeddings_request,
             .whole = embeddings_body,
             .stream = nullptr,
             .id_prefix = "embd-",
             .prompt_field = "input"},
    Dialogue{.route = InferenceRoute::kTeiEmbed,
             .parse = parse_tei_embed_request,
             .whole = tei_answer_body,
             .stream = nullptr,
             .id_prefix = "tei-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kTeiRerank,
             .parse = parse_tei_rerank_request,
             .whole = tei_answer_body,
             .stream = nullptr,
             .id_prefix = "tei-",
             .prompt_field = "texts"},
    Dialogue{.route = InferenceRoute::kTeiPredict,
             .parse = parse_tei_predict_request,
             .whole = tei_answer_body,
             .stream = nullptr,
             .id_prefix = "tei-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kTeiSimilarity,
             .parse = parse_tei_similarity_request,
             .whole = tei_answer_body,
             .stream = nullptr,
             .id_prefix = "tei-",
             .prompt_field = "inputs"},
    Dialogue{.route = InferenceRoute::kRerank,
             .parse = parse_rerank_request,
             .whole = rerank_body,
             .stream = nullptr,
             .id_prefix = "rerank-",
             .prompt_field = "documents"},
};

constexpr bool in_route_order() {
  for (std::size_t i = 0; i < kDialogues.size(); ++i) {
    if (static_cast<std::size_t>(kDialogues[i].route) != i) {
      return false;
    }
  }
  return true;
}

static_assert(in_route_order(), "one row per InferenceRoute, in the order of the enum");

}  // namespace

const Dialogue& dialogue_of(InferenceRoute route) {
  const auto at = static_cast<std::size_t>(route);
  GENESIS_CHECK(at < kDialogues.size());
  return kDialogues[at];
}

}  // namespace genesis::server
