#include "provider/openai_response.h"

#include "base/json.h"
#include "base/log.h"
#include "provider/openai_scan.h"
#include "provider/openai_tokens.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace genesis::provider {

namespace {

namespace json = boost::json;

constexpr std::string_view kDone = "[DONE]";
// No model reads or writes so many tokens in one request; larger counts are nonsense.
constexpr std::int64_t kMaxTokens = 100'000'000;
// Enough of an unknown word to recognise it in a log.
constexpr std::size_t kMaxLoggedWord = 40;

std::unexpected<Error> unusable(std::string_view why) {
  return fail(ErrorCode::kUpstream, std::string(why));
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

bool is_absent(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null();
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// A count, 0 when absent, -1 when it is not one.
std::int64_t count_at(const json::object* object, std::string_view key) {
  if (object == nullptr || is_absent(*object, key)) {
    return 0;
  }
  const auto value = get_integer(*object, key);
  const bool usable = value && *value && **value >= 0 && **value <= kMaxTokens;
  return usable ? **value : -1;
}

// Nullopt when the numbers cannot be true.
std::optional<Usage> read_usage(const json::object& object) {
  const json::object* in = object_at(object, "prompt_tokens_details");
  const json::object* out = object_at(object, "completion_tokens_details");
  Usage usage{.input = count_at(&object, "prompt_tokens"),
              .cached_input = count_at(in, "cached_tokens"),
              .output = count_at(&object, "completion_tokens"),
              .reasoning = count_at(out, "reasoning_tokens")};
  const bool negative =
      std::min({usage.input, usage.cached_input, usage.output, usage.reasoning}) < 0;
  if (negative || usage.cached_input > usage.input) {
    return std::nullopt;
  }
  if (usage.reasoning > usage.output) {
    // Some upstreams count reasoning beside the output instead of within it.
    usage.output += usage.reasoning;
  }
  return usage;
}

// Gives ids to token records, or makes records of bare ids.
void assign_ids(std::vector<TokenInfo>& tokens,
                const std::vector<std::int32_t>& prompt_ids,
                const std::vector<std::int32_t>& ids,
                std::string_view text) {
  if (tokens.empty()) {
    for (const auto* list : {&prompt_ids, &ids}) {
      for (const std::int32_t id : *list) {
        tokens.push_back({.id = id});
      }
    }
    if (tokens.size() == 1 && ids.size() == 1) {
      tokens.front().text = text;
    }
    return;
  }
  if (tokens.size() != prompt_ids.size() + ids.size()) {
    return;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    TokenInfo& token = tokens[i];
    token.id = i < prompt_ids.size() ? prompt_ids[i] : ids[i - prompt_ids.size()];
    for (TokenAlternative& other : token.top) {
      if (other.text == token.text) {
        other.id = token.id;
      }
    }
  }
}

}  // namespace

OpenAiReader::OpenAiReader(const ChatRequest& request, std::string endpoint)
    : request_(request),
      endpoint_(std::move(endpoint)),
      choices_(static_cast<std::size_t>(std::max(request.n, 1))) {}

Result<OpenAiChunk> OpenAiReader::read(std::string_view text) {
  const auto read_all = [&]() -> Result<OpenAiChunk> {
    GENESIS_TRY(const json::value value, parse_json(text));
    if (!value.is_object()) {
      return unusable("not a JSON object");
    }
    return read_object(value.get_object());
  };
  auto chunk = read_all();
  if (!chunk) {
    return fail(
        ErrorCode::kUpstream,
        fmt::format("endpoint '{}' sent an unusable answer: {}", endpoint_, chunk.error().message));
  }
  return chunk;
}

Result<OpenAiChunk> OpenAiReader::read_object(const json::object& body) {
  OpenAiChunk chunk;
  if (!is_absent(body, "error") || !is_absent(body, "object")) {
    chunk.error = find_upstream_error(body);
    if (chunk.error) {
      return chunk;
    }
  }
  if (!is_absent(body, "usage")) {
    const json::object* usage = object_at(body, "usage");
    chunk.usage = usage == nullptr ? std::nullopt : read_usage(*usage);
    chunk.absurd_usage = !chunk.usage;
  }
  if (is_absent(body, "choices")) {
    if (is_absent(body, "usage")) {
      return unusable("no 'choices'");
    }
    return chunk;
  }
  const json::array* choices = body.at("choices").if_array();
  if (choices == nullptr) {
    return unusable("'choices' is not a list");
  }
  for (const json::value& item : *choices) {
    if (!item.is_object()) {
      return unusable("a choice is not an object");
    }
    GENESIS_TRY(auto delta, read_choice(item.get_object()));
    chunk.deltas.push_back(std::move(delta));
  }
  return chunk;
}

Result<ChatDelta> OpenAiReader::read_choice(const json::object& choice) {
  ChatDelta delta;
  GENESIS_TRY(const auto index, get_integer(choice, "index"));
  if (index.value_or(0) < 0 || index.value_or(0) >= static_cast<std::int64_t>(choices_.size())) {
    return unusable(fmt::format("choice {} was not asked for", index.value_or(0)));
  }
  delta.index = static_cast<int>(index.value_or(0));
  for (const std::string_view key : {"delta", "message"}) {
    if (is_absent(choice, key)) {
      continue;
    }
    const json::object* message = object_at(choice, key);
    if (message == nullptr) {
      return unusable(fmt::format("'{}' is not an object", key));
    }
    GENESIS_TRY_VOID(read_message(*message, delta));
  }
  GENESIS_TRY(auto text, get_string(choice, "text"));
  if (text) {
    delta.text += *text;
  }
  GENESIS_TRY_VOID(strip_echo(delta));
  GENESIS_TRY_VOID(read_tokens(choice, delta));
  GENESIS_TRY(const auto finish, get_string(choice, "finish_reason"));
  if (finish && !finish->empty()) {
    delta.finish = finish_reason(*finish, choice);
    // An end token has a record but no visible text.
    if (delta.finish == FinishReason::kStop && delta.text.empty() && delta.tokens.size() == 1) {
      delta.tokens.front().special = true;
    }
  }
  return delta;
}

Result<void> OpenAiReader::read_message(const json::object& message, ChatDelta& delta) {
  GENESIS_TRY(auto content, get_string(message, "content"));
  delta.text = std::move(content).value_or("");
  // A refusal is what the model says instead of content.
  GENESIS_TRY(const auto refusal, get_string(message, "refusal"));
  delta.text += refusal.value_or("");
  // vLLM and DeepSeek say reasoning_content, OpenRouter and newer vLLM reasoning; some say both.
  GENESIS_TRY(auto reasoning, get_string(message, "reasoning_content"));
  if (!reasoning) {
    GENESIS_TRY(reasoning, get_string(message, "reasoning"));
  }
  delta.reasoning = std::move(reasoning).value_or("");
  if (!is_absent(message, "function_call")) {
    return unusable("the deprecated 'function_call' cannot be passed on; use 'tools'");
  }
  if (is_absent(message, "tool_calls")) {
    return {};
  }
  const json::array* calls = message.at("tool_calls").if_array();
  if (calls == nullptr) {
    return unusable("'tool_calls' is not a list");
  }
  if (!calls->empty()) {
    delta.tool_calls_json = json::serialize(*calls);
  }
  return {};
}

Result<void> OpenAiReader::read_tokens(const json::object& choice, ChatDelta& delta) {
  std::vector<TokenInfo> tokens;
  if (const json::object* logprobs = object_at(choice, "logprobs")) {
    const bool chat = is_chat(request_.dialect);
    GENESIS_TRY(tokens, chat ? read_chat_tokens(*logprobs) : read_completion_tokens(*logprobs));
  }
  GENESIS_TRY(auto prompt_ids, read_token_ids(choice, "prompt_token_ids"));
  GENESIS_TRY(const auto ids, read_token_ids(choice, "token_ids"));
  if (!wants_prompt() || (!tokens.empty() && tokens.size() == ids.size())) {
    prompt_ids.clear();  // told without being asked for, or without records to go with them
  }
  assign_ids(tokens, prompt_ids, ids, delta.text);
  const std::size_t of_prompt =
      count_prompt_tokens(choice, prompt_ids.size(), tokens.size(), delta.index);
  const auto split = tokens.begin() + static_cast<std::ptrdiff_t>(of_prompt);
  delta.prompt_tokens.assign(tokens.begin(), split);
  delta.tokens.assign(split, tokens.end());
  return {};
}

bool OpenAiReader::wants_prompt() const {
  return !is_chat(request_.dialect) && (request_.echo || request_.sampling.want_prompt_logprobs);
}

// How many of the first `tokens` records belong to the echoed prompt.
std::size_t OpenAiReader::count_prompt_tokens(const json::object& choice,
                                              std::size_t known_ids,
                                              std::size_t tokens,
                                              int index) {
  if (known_ids > 0) {
    return std::min(known_ids, tokens);
  }
  if (!wants_prompt()) {
    return 0;
  }
  const ChatInput& input = *request_.input;
  if (!input.prompt_tokens.empty()) {
    Choice& state = choices_[static_cast<std::size_t>(index)];
    const std::size_t left = input.prompt_tokens.size() - state.prompt_tokens_done;
    const std::size_t count = std::min(left, tokens);
    state.prompt_tokens_done += count;
    return count;
  }
  const json::object* logprobs = object_at(choice, "logprobs");
  const json::value* offsets = logprobs == nullptr ? nullptr : logprobs->if_contains("text_offset");
  if (offsets == nullptr || !offsets->is_array()) {
    return 0;
  }
  const auto prompt_end = static_cast<std::int64_t>(count_characters(input.prompt));
  std::size_t count = 0;
  for (const json::value& offset : offsets->get_array()) {
    if (count == tokens || !offset.is_int64() || offset.get_int64() >= prompt_end) {
      break;
    }
    ++count;
  }
  return count;
}

// TGI's dialect tells prompt tokens apart from the text, so the echo that brings them is cut off.
Result<void> OpenAiReader::strip_echo(ChatDelta& delta) {
  if (request_.dialect != Dialect::kTgi || !request_.sampling.want_prompt_logprobs) {
    return {};
  }
  Choice& state = choices_[static_cast<std::size_t>(delta.index)];
  const std::string_view left =
      std::string_view(request_.input->prompt).substr(state.echo_bytes_done);
  const std::size_t common = std::min(left.size(), delta.text.size());
  if (!delta.text.starts_with(left.substr(0, common))) {
    return unusable("the prompt was not echoed as it was sent");
  }
  delta.text.erase(0, common);
  state.echo_bytes_done += common;
  return {};
}

FinishReason OpenAiReader::finish_reason(std::string_view name, const json::object& choice) const {
  if (name == "length") {
    return FinishReason::kLength;
  }
  if (name == "tool_calls" || name == "function_call") {
    return FinishReason::kToolCalls;
  }
  if (name == "content_filter") {
    return FinishReason::kContentFilter;
  }
  if (name == "stop_sequence") {
    return FinishReason::kStopSequence;
  }
  if (name != "stop" && name != "eos_token" && name != "eos") {
    log(LogLevel::kWarn,
        "unknown finish_reason taken as 'stop'",
        {{"endpoint", endpoint_}, {"finish_reason", name.substr(0, kMaxLoggedWord)}});
  }
  // vLLM and SGLang tell the stop string that matched; a stop token is a number there.
  for (const std::string_view key : {"stop_reason", "matched_stop"}) {
    const json::value* matched = choice.if_contains(key);
    if (matched != nullptr && matched->is_string() && !matched->get_string().empty()) {
      return FinishReason::kStopSequence;
    }
  }
  return FinishReason::kStop;
}

OpenAiAnswerReader::OpenAiAnswerReader(const ChatRequest& request,
                                       Options options,
                                       const Clock& clock)
    : request_(request),
      options_(std::move(options)),
      clock_(clock),
      reader_(request, options_.endpoint),
      // An echoed prompt is told apart token by token.
      scans_(!request.echo && !request.sampling.want_prompt_logprobs) {}

AnswerPart OpenAiAnswerReader::part_of(OpenAiChunk chunk) const {
  AnswerPart part{
      .deltas = std::move(chunk.deltas), .usage = chunk.usage, .absurd_usage = chunk.absurd_usage};
  if (chunk.error) {
    part.error = error_in_stream(*chunk.error, options_.endpoint);
  }
  return part;
}

Result<AnswerPart> OpenAiAnswerReader::read_event(net::SseEvent& event) {
  const std::string_view data = event.data;
  if (data.substr(0, data.find_last_not_of(" \t") + 1) == kDone) {
    return AnswerPart{.end = true};
  }
  if (data.empty()) {
    return AnswerPart{};
  }
  AnswerPart part;
  const bool is_error = event.event == "error";
  auto plain =
      scans_ && !is_error ? scan_openai_chunk(data, std::max(request_.n, 1)) : std::nullopt;
  // A client that does not stream gets one object in the end: of plain chunks only the first adds
  // anything to it that the typed fields do not hold.
  const bool adds = request_.stream || !plain || !plain->only_known || first_;
  first_ = false;
  if (plain) {
    part.deltas.push_back(std::move(plain->delta));
  } else {
    GENESIS_TRY(auto chunk, reader_.read(data));
    if (is_error && !chunk.error) {
      chunk.error = UpstreamError{};
    }
    part = part_of(std::move(chunk));
  }
  if (options_.raw && adds && !part.error) {
    attach_raw(part, to_one_line(std::move(event.data)));
  }
  return part;
}

// A chunk without choices tells the usage, or what is unknown here.
void OpenAiAnswerReader::attach_raw(AnswerPart& part, std::string raw) const {
  if (part.deltas.empty()) {
    part.deltas.emplace_back();
  }
  // Several choices of one chunk would be written once as they are and once more from their fields.
  if (part.deltas.size() == 1 || !request_.stream) {
    part.deltas.front().raw = std::move(raw);
  }
}

Result<AnswerPart> OpenAiAnswerReader::read_body(std::string& body, const net::Headers&) {
  GENESIS_TRY(auto chunk, reader_.read(body));
  AnswerPart part = part_of(std::move(chunk));
  // What answers with a body though a stream was asked for is written as a stream by the server.
  if (options_.raw && !part.deltas.empty() && !request_.stream) {
    part.deltas.front().raw = std::move(body);
  }
  return part;
}

Error OpenAiAnswerReader::read_refusal(int status,
                                       const net::Headers& headers,
                                       std::string_view body) {
  return error_from_response(status, headers, body, options_.endpoint, clock_.unix_ms());
}

}  // namespace genesis::provider
