// What all dialects share: where an upstream is, and how one request is dispatched to it. The
// dialects differ in the bytes they send and in their AnswerReader.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "net/client.h"
#include "net/http.h"
#include "net/sse.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::provider {

struct UpstreamOptions {
  // OpenAI: with its /v1, as given to the OpenAI SDK. Anthropic: with /v1, or without as given to
  // the Anthropic SDK. TGI and TEI: the server's root.
  net::BaseUrl base;
  std::string api_key;     // empty = none. Never logged, never in an error
  std::string model;       // the upstream's name for the model; empty = ChatRequest::model
  bool token_ids = false;  // OpenAI: the peer understands `return_token_ids` (our engine, vLLM)
  // The peer is our own engine: it hears whose request it is, and keeps tenants apart.
  bool tell_tenant = false;
  // Ask for a stream also when the client wants a whole answer: only a stream shows whether the
  // upstream is at work, and how far it came when it breaks off.
  bool always_stream = false;
  ServedBy served;
  // Sent with every request; one of the same name replaces what the dialect would send. Values may
  // be secret.
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t max_event_bytes = 8 * 1024 * 1024;  // one SSE event
  std::size_t max_body_bytes = 64 * 1024 * 1024;  // a whole answer that is not streamed
  // After the last finish_reason: how long the usage or the end of the stream may take before the
  // answer counts as complete without it.
  std::chrono::milliseconds usage_wait{5'000};
};

// What one event, or one whole body, of the upstream says.
struct AnswerPart {
  std::vector<ChatDelta> deltas;  // in the upstream's order; may be empty
  std::optional<Usage> usage;     // replaces what was told before
  bool absurd_usage = false;      // usage was there, but no number to book
  std::optional<Error> error;     // told inside a 200
  bool end = false;               // nothing more comes
};

// Reads one answer of one dialect. No sockets here.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  // An event of a stream; it may be moved from. Anything that cannot be used is kUpstream: an event
  // that cannot be read may have held a part of the answer, so it is never skipped (failoverbench
  // S10); the answer is asked for again instead, here or elsewhere.
  virtual Result<AnswerPart> read_event(net::SseEvent& event) = 0;
  // A whole answer.
  virtual Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) = 0;
  // The error of a status other than 2xx.
  virtual Error read_refusal(int status, const net::Headers& headers, std::string_view body) = 0;
};

// One dispatch, ready to leave.
struct UpstreamCall {
  std::string target;  // appended to UpstreamOptions::base
  net::Headers headers;
  std::string body;
  bool stream = false;
};

// One request = one dispatch; nothing is retried here. begin() is called just before the first
// delta that carries something. Closing the sink closes the upstream's connection.
//
// Usage is the upstream's when it makes sense. When it is missing, or absurd in a stream that has
// been delivered already, `output` is the number of tokens (or else of deltas) seen and `input` is
// 0: the metering decorator compares with its own count. An absurd usage in a body that was not
// streamed is kUpstream, since nothing has been delivered.
//
// Errors: those of the reader, kUnavailable and kTimeout of the connection, kCancelled. A stream
// that ends before every choice has its finish is kUnavailable, never a short success.
Task<Result<Usage>> dispatch_call(net::Client& client,
                                  const UpstreamOptions& options,
                                  const ChatRequest& request,
                                  ChatSink& sink,
                                  UpstreamCall call,
                                  AnswerReader& reader);

// JSON of one event as a single line, fit for ChatDelta::raw.
std::string to_one_line(std::string json);

// Where the model name of the upstream is configured, it replaces the request's.
const std::string& model_of(const UpstreamOptions& options, const ChatRequest& request);

// kUnsupported, so that another endpoint is asked.
std::unexpected<Error> cannot(const UpstreamOptions& options,
                              std::string_view what,
                              std::string param = {});

// Takes the secrets of `options` out of what an upstream said.
void redact_secrets(Error& error, const UpstreamOptions& options);

}  // namespace genesis::provider
