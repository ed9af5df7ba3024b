// AnthropicProvider: Anthropic's Messages API as a ChatModel.
#pragma once

#include "provider/upstream.h"

namespace genesis::provider {

// As dispatch_call(). A client that speaks Anthropic gets its own bytes sent, but for `model` and
// `stream`, and the upstream's events byte for byte; every other chat is translated from OpenAI's
// form (anthropic_request.h) and back. A prompt becomes one user turn. Embedding is kUnsupported.
class AnthropicProvider final : public ChatModel {
 public:
  // `client` and `clock` (wall time, for dates in headers) outlive this object. Lives on the
  // client's io thread.
  AnthropicProvider(net::Client& client, const Clock& clock, UpstreamOptions options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  net::Client& client_;
  const Clock& clock_;
  UpstreamOptions options_;
};

}  // namespace genesis::provider
