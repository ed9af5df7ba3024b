// OpenAiProvider: any server that speaks OpenAI's HTTP dialect (our own engine, vLLM, TGI, SGLang,
// llama-server, OpenAI itself) as a ChatModel.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "net/client.h"
#include "net/http.h"

#include <chrono>
#include <cstddef>
#include <string>

namespace genesis::provider {

struct OpenAiOptions {
  net::BaseUrl base;       // the OpenAI base URL with its /v1, as given to the OpenAI SDK
  std::string api_key;     // sent as a bearer token; empty = none. Never logged, never in an error
  std::string model;       // the upstream's name for the model; empty = ChatRequest::model
  bool token_ids = false;  // the peer understands `return_token_ids` (our engine, vLLM)
  // Ask for a stream also when the client wants a whole answer: only a stream shows whether the
  // upstream is at work, and how far it came when it breaks off.
  bool always_stream = false;
  ServedBy served;
  std::size_t max_event_bytes = 8 * 1024 * 1024;  // one SSE event
  std::size_t max_body_bytes = 64 * 1024 * 1024;  // a whole answer that is not streamed
  // After the last finish_reason: how long the usage or [DONE] may take before the answer counts as
  // complete without it.
  std::chrono::milliseconds usage_wait{5'000};
};

// One request = one dispatch; nothing is retried here. begin() is called just before the first
// delta that carries something. Closing the sink closes the upstream's connection.
//
// Usage is the upstream's when it makes sense. When it is missing, or absurd in a stream that has
// been delivered already, `output` is the number of tokens (or else of deltas) seen and `input` is
// 0: the metering decorator compares with its own count. An absurd usage in a body that was not
// streamed is kUpstream, since nothing has been delivered.
//
// Errors: kInvalidArgument and kContextLength (the upstream refuses this request: not retryable),
// kRateLimited and kUnavailable with retry_after, kTimeout, kUpstream (an answer that cannot be
// used, or our credentials refused), kCancelled. A stream that ends before every choice has its
// finish_reason is kUnavailable, never a short success. The deprecated `function_call` of a message
// cannot be carried and is kUpstream.
class OpenAiProvider final : public ChatModel {
 public:
  // `client` and `clock` (wall time, for Retry-After dates) outlive this object. Lives on the
  // client's io thread.
  OpenAiProvider(net::Client& client, const Clock& clock, OpenAiOptions options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  net::Client& client_;
  const Clock& clock_;
  OpenAiOptions options_;
};

}  // namespace genesis::provider
