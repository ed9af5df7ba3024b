// TgiProvider: Hugging Face text-generation-inference by its own routes, /generate and
// /generate_stream, as a ChatModel for prompts. Conversations go to TGI v3's OpenAI routes instead:
// an endpoint with the dialect "openai".
#pragma once

#include "provider/upstream.h"

namespace genesis::provider {

// As dispatch_call(). A client that speaks TGI gets its own bytes sent, but for `details`, which
// usage and finish need; /v1/completions is translated. kUnsupported: conversations, embedding,
// several choices, an echo, token ids as prompt, and sampling that TGI has no word for.
class TgiProvider final : public ChatModel {
 public:
  // `client` and `clock` (wall time, for dates in headers) outlive this object. Lives on the
  // client's io thread.
  TgiProvider(net::Client& client, const Clock& clock, UpstreamOptions options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  net::Client& client_;
  const Clock& clock_;
  UpstreamOptions options_;
};

}  // namespace genesis::provider
