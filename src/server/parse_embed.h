// Request bodies of the dialects of embedding -> InferenceCall: OpenAI's /v1/embeddings, TEI's
// /embed, /rerank, /predict and /similarity, and /v1/rerank as Cohere, Jina and vLLM shape it.
// Sources: platform.openai.com/docs/api-reference/embeddings; text-embeddings-inference
// router/src/http/types.rs; docs.cohere.com/reference/rerank.
#pragma once

#include "base/result.h"
#include "server/call.h"

#include <cstddef>
#include <string_view>

namespace genesis::server {

inline constexpr std::size_t kMaxEmbedInputs = 2048;  // OpenAI's limit of /v1/embeddings
inline constexpr std::size_t kMaxTeiBatch = 32;       // TEI's default --max-client-batch-size
inline constexpr std::size_t kMaxRerankTexts = 1000;  // Cohere's limit of /rerank

Result<InferenceCall> parse_embeddings_request(std::string_view body);
Result<InferenceCall> parse_tei_embed_request(std::string_view body);
Result<InferenceCall> parse_tei_rerank_request(std::string_view body);
Result<InferenceCall> parse_tei_predict_request(std::string_view body);
Result<InferenceCall> parse_tei_similarity_request(std::string_view body);
Result<InferenceCall> parse_rerank_request(std::string_view body);

}  // namespace genesis::server
