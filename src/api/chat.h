// The vocabulary of chat and completion: what is asked, what streams back, what it used, and the
// one verb that carries it everywhere. Data only, plus two ports.
#pragma once

#include "api/embed.h"
#include "api/money.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis {

// One turn of a conversation. `content` is plain text; parts of type "text" are joined by newline.
struct ChatMessage {
  std::string role;
  std::string content;
  std::string name;
  std::string tool_call_id;
  std::string tool_calls_json;  // raw JSON array, empty if none
  // The list of OpenAI content parts when one of them is more than text (an image by reference);
  // else empty. Whoever cannot show such a part to its model refuses with kUnsupported.
  std::string parts_json;
  std::string reasoning;  // what an earlier turn of the assistant thought, when the caller sent it
};

// How the caller phrased the request. It decides which upstream route a provider uses.
enum class Dialect : std::uint8_t {
  kOpenAiChat,        // /v1/chat/completions: `messages`
  kOpenAiCompletion,  // /v1/completions: `prompt`
  kTgi,               // /generate, /generate_stream: `prompt`
  kAnthropic,         // /v1/messages: `messages`
  kResponses,         // /v1/responses: `messages`
  kEmbeddings,        // /v1/embeddings: `embed`
  kTei,               // /embed, /rerank, /predict ...: `embed`
};

// True for the dialects whose input is a conversation.
constexpr bool is_chat(Dialect dialect) {
  return dialect == Dialect::kOpenAiChat || dialect == Dialect::kAnthropic ||
         dialect == Dialect::kResponses;
}

// True for the dialects that ask for numbers about texts instead of an answer.
constexpr bool is_embed(Dialect dialect) {
  return dialect == Dialect::kEmbeddings || dialect == Dialect::kTei;
}

// Sampling as the union of OpenAI's and TGI's words; defaults are OpenAI's. Ranges are checked by
// validate_sampling() before anything else happens.
struct Sampling {
  double temperature = 1.0;         // 0 = greedy; [0, 2]
  double top_p = 1.0;               // (0, 1]
  int top_k = 0;                    // 0 = off; [0, 1,000,000]
  double typical_p = 1.0;           // (0, 1]; 1 = off
  double min_p = 0.0;               // [0, 1]
  double repetition_penalty = 1.0;  // (0, 2]; over prompt and output, as in transformers
  double presence_penalty = 0.0;    // [-2, 2]; over output only, as OpenAI defines it
  double frequency_penalty = 0.0;   // [-2, 2]; over output only
  std::optional<std::uint64_t> seed;
  std::optional<int> max_tokens;  // unset = until the context is full
  int min_tokens = 0;             // end tokens are masked before this many
  std::vector<std::string> stop;  // at most kMaxStopStrings, none empty
  bool include_stop_in_output = false;
  bool ignore_eos = false;
  bool want_logprobs = false;         // logprob of each chosen token
  int top_logprobs = 0;               // alternatives per token; [0, 20]
  bool want_prompt_logprobs = false;  // completions `echo` with logprobs, TGI decoder_input_details
  std::map<int, double> logit_bias;   // token id -> [-100, 100]
};

inline constexpr std::size_t kMaxStopStrings = 16;

Result<void> validate_sampling(const Sampling& sampling);

// What the text of an answer must be, where that is more than any text.
struct AnswerFormat {
  enum class Kind : std::uint8_t { kText, kJsonObject, kJsonSchema, kRegex, kGbnf };

  Kind kind = Kind::kText;
  std::string source;   // the schema as JSON, the pattern, or the grammar in llama.cpp's notation
  bool strict = false;  // of a schema: objects are closed, as OpenAI means it
  std::string field;    // where the client wrote it, for messages: "response_format"
};

// Which tools an answer may or must call.
struct ToolChoice {
  enum class Mode : std::uint8_t { kAuto, kNone, kRequired, kNamed };

  Mode mode = Mode::kAuto;
  std::string name;      // of kNamed
  bool parallel = true;  // several calls in one answer
};

// The part of a request that is large and never changes: shared, not copied, between attempts.
struct ChatInput {
  std::vector<ChatMessage> messages;        // is_chat()
  std::string prompt;                       // the other dialects, when prompt_tokens is empty
  std::vector<std::int32_t> prompt_tokens;  // a prompt given as token ids
  std::string tools_json;                   // raw JSON array of OpenAI `tools`, empty if none
  ToolChoice tool_choice;
  AnswerFormat format;
  // Variables for the model's template (chat_template_kwargs), a JSON object; empty = none.
  std::string template_variables;
  // Fields that force the form of the answer (`format.field`, "tool_choice", the old "functions"):
  // whoever cannot honour one must refuse with kUnsupported, so that another endpoint is asked.
  std::vector<std::string> demands;
  // The request in OpenAI's shape: the client's own JSON where it speaks OpenAI, so that unknown
  // fields pass unchanged; else the server's translation of it. Empty for TGI.
  std::string body;
  // The client's own JSON where it does not speak OpenAI: goes unchanged to an upstream of the same
  // dialect.
  std::string native;
  // Header fields of the client that belong to its dialect (anthropic-version, anthropic-beta,
  // openai-beta) and go with the body. Never credentials.
  std::vector<std::pair<std::string, std::string>> native_headers;
  // A field of the client that cannot be said in OpenAI's shape (a server tool, a file by id): who
  // does not speak the client's own dialect must refuse with kUnsupported, naming it. Else empty.
  std::string native_only;
  std::optional<EmbedInput> embed;  // is_embed()
};

enum class Priority : std::uint8_t { kHigh, kNormal, kLow };

// What clients tell of themselves, and our gateway to its own engine.
inline constexpr std::string_view kAgentHeader = "x-genesis-agent";
inline constexpr std::string_view kPriorityHeader = "x-genesis-priority";
// What only the gateway tells: the tenant, hashed, so that any name fits a header.
inline constexpr std::string_view kTenantHeader = "x-genesis-tenant";

// Who is asking within a tenant, and what for: chosen by the caller, so good for routing, booking
// and budgets, never for access. Empty = not told.
struct Caller {
  std::string team;     // of the key
  std::string agent;    // "qa", "builder" ...: header x-genesis-agent, or the route's own agent
  std::string task;     // "routing", "classification" ...: header x-genesis-task
  std::string session;  // turns of one conversation share it: header x-genesis-session or the like
  Priority priority = Priority::kNormal;  // header x-genesis-priority
};

// One request, or one attempt at it. Cheap to copy.
struct ChatRequest {
  std::string id;             // unique; the ledger's key together with `attempt`
  std::uint32_t attempt = 0;  // 0 = not dispatched yet; 1, 2, ... per dispatch
  std::string route;          // what the client asked for by `model`, e.g. "auto"
  std::string model;          // what the endpoint serving this attempt calls the model
  std::string tenant;         // whose money and whose cache
  std::string key_id;         // public part of the API key, "local" on keyless loopback
  Caller caller;
  std::string traceparent;  // the client's W3C trace context, checked; empty = none
  // Routes, endpoints and models the key may use; null or empty = all. Checked again at dispatch.
  std::shared_ptr<const std::vector<std::string>> allowed_models;
  Dialect dialect = Dialect::kOpenAiChat;
  bool stream = false;
  int n = 1;          // choices; [1, 8]
  bool echo = false;  // completions: prompt text comes first in the output
  Sampling sampling;
  SteadyTime deadline = SteadyTime::max();  // of the whole request, all attempts together
  bool last_resort = false;  // nobody else is left to answer: a starting endpoint is waited for
  std::shared_ptr<const ChatInput> input = std::make_shared<ChatInput>();
  // Where the ledger notes what the attempts were booked at; null = nobody asks.
  std::shared_ptr<Bill> bill;
};

enum class FinishReason : std::uint8_t {
  kStop,          // end token
  kStopSequence,  // a stop string; OpenAI says "stop", TGI "stop_sequence"
  kLength,        // max_tokens or the context
  kToolCalls,
  kContentFilter,
};

// An alternative at one position.
struct TokenAlternative {
  std::int32_t id = -1;
  std::string text;
  float logprob = 0;
};

// One token; `id` is -1 where an upstream does not tell it.
struct TokenInfo {
  std::int32_t id = -1;
  std::string text;  // raw bytes of this token, possibly part of a UTF-8 character
  float logprob = 0;
  bool special = false;
  std::vector<TokenAlternative> top;
};

// A piece of one choice. Any part may be empty; `finish` comes once per choice, on its last delta.
struct ChatDelta {
  int index = 0;
  std::string text;                      // valid UTF-8
  std::string reasoning;                 // reasoning_content / reasoning
  std::string tool_calls_json;           // raw JSON array for delta.tool_calls, passed on unchanged
  std::vector<TokenInfo> tokens;         // the tokens behind `text`, when asked for or known
  std::vector<TokenInfo> prompt_tokens;  // once, when prompt logprobs were asked for
  std::optional<FinishReason> finish;
  std::string stop_sequence;  // beside kStopSequence, where the upstream tells it
  // The upstream's own JSON of this piece when it speaks the dialect of the client: passed on in
  // place of what would be written from the fields above, which hold the same. One line, valid
  // JSON; a whole body where the upstream did not stream. `raw_event` is the SSE event's name.
  // Empty where a translation took place, for a streamed piece of more than one choice, and, when
  // the client does not stream, where it would add nothing. A delta with nothing but `raw` is an
  // event without content (a role, message_start); such ones come before the first content and
  // behind the `finish` (the usage), too.
  std::string raw;
  std::string raw_event;
  std::shared_ptr<const EmbedAnswer> embed;  // the whole answer, in the only delta, of is_embed()
};

// Typed token counts of one attempt. `reasoning` is a part of `output`, `cached_input` and
// `cache_write` are parts of `input`.
struct Usage {
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t cache_write = 0;
  std::int64_t output = 0;
  std::int64_t reasoning = 0;
};

enum class Tier : std::uint8_t { kSelfHosted, kManaged, kCommercial };

std::string_view tier_name(Tier tier);
std::optional<Tier> tier_from_name(std::string_view name);
std::string_view priority_name(Priority priority);
std::optional<Priority> priority_from_name(std::string_view name);

// Who answers; known before the first delta.
struct ServedBy {
  std::string endpoint;
  std::string model;
  Tier tier = Tier::kSelfHosted;
};

// Where an answer goes. The server writes SSE or collects a body; decorators count, time and guard.
// All calls come from the io thread, one at a time. A sink whose token is cancelled has no reader
// any more: the producer stops and returns ErrorCode::kCancelled.
class ChatSink {
 public:
  virtual ~ChatSink() = default;
  // Once, before the first write(): the commit point, after which failover is no longer free.
  virtual Task<Result<void>> begin(const ServedBy& served) = 0;
  virtual Task<Result<void>> write(const ChatDelta& delta) = 0;
  virtual CancelToken cancel_token() const = 0;
};

// The one verb. Implementations: the engine, each provider, and the decorators around them.
// Returns the usage after the last delta, or the error that ended the answer; after a begin() an
// error means a cut answer. `request` and `sink` outlive the call.
class ChatModel {
 public:
  virtual ~ChatModel() = default;
  virtual Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) = 0;
};

}  // namespace genesis
