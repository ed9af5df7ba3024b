// /v1/embeddings of OpenAI, vLLM, TEI and others: request bytes and answer.
#pragma once

#include "api/chat.h"
#include "provider/upstream.h"

#include <string>

namespace genesis::provider {

// The client's own body with another `model`, or one written from EmbedInput. kUnsupported for
// tasks other than vectors.
Result<std::string> openai_embed_body(const ChatRequest& request, const UpstreamOptions& options);

// Vectors as lists of numbers or as base64 of little-endian floats. One delta, with
// ChatDelta::embed and, for a client of the same dialect, the body as it is.
class OpenAiEmbedReader final : public AnswerReader {
 public:
  // `request` and `clock` outlive the reader.
  OpenAiEmbedReader(const ChatRequest& request, std::string endpoint, const Clock& clock);

  Result<AnswerPart> read_event(net::SseEvent& event) override;
  Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) override;
  Error read_refusal(int status, const net::Headers& headers, std::string_view body) override;

 private:
  const ChatRequest& request_;
  std::string endpoint_;
  const Clock& clock_;
};

}  // namespace genesis::provider
