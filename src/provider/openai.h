// OpenAiProvider: any server that speaks OpenAI's HTTP dialect (our own engine, vLLM, SGLang,
// llama-server, Ollama, TGI v3, OpenAI itself) as a ChatModel.
#pragma once

#include "provider/upstream.h"

namespace genesis::provider {

// As dispatch_call(). Asks /chat/completions for the dialects that hold a conversation,
// /completions for those with a prompt, /embeddings for vectors; rerank, predict and similarity are
// kUnsupported. A client that speaks the same dialect gets the upstream's chunks byte for byte
// (ChatDelta::raw), `id` and `model` included; a chunk of several choices is translated.
//
// kInvalidArgument and kContextLength: the upstream refuses this request (not retryable).
// kRateLimited and kUnavailable carry retry_after. kUpstream: an answer that cannot be used, or our
// credentials refused. The deprecated `function_call` of a message cannot be carried and is
// kUpstream.
class OpenAiProvider final : public ChatModel {
 public:
  // `client` and `clock` (wall time, for Retry-After dates) outlive this object. Lives on the
  // client's io thread.
  OpenAiProvider(net::Client& client, const Clock& clock, UpstreamOptions options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  net::Client& client_;
  const Clock& clock_;
  UpstreamOptions options_;
};

}  // namespace genesis::provider
