#include "server/parse_openai.h"

#include "base/json.h"
#include "server/fields.h"
#include "server/parse_format.h"
#include "server/parse_messages.h"
#include "server/parse_sampling.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <limits>

namespace genesis::server {

namespace json = boost::json;

namespace {

constexpr int kMaxChoices = 8;             // ChatRequest::n
constexpr int kMaxCompletionLogprobs = 5;  // OpenAI's limit of the older route

// `stream`, `n`, `model` and the stream options, which both routes have.
Result<InferenceCall> parse_common(const json::object& body) {
  InferenceCall call;
  ChatRequest& request = call.request;
  GENESIS_TRY(auto model, get_string(body, "model"));
  request.route = std::move(model).value_or("");
  GENESIS_TRY_VOID(check_model_name(request.route));
  GENESIS_TRY(const auto stream, get_bool(body, "stream"));
  request.stream = stream.value_or(false);
  GENESIS_TRY(const auto n, get_int(body, "n"));
  request.n = n.value_or(1);
  if (request.n < 1 || request.n > kMaxChoices) {
    return fail_param("n",
                      fmt::format("'n' must be between 1 and {}, not {}", kMaxChoices, request.n));
  }
  if (is_given(body, "stream_options")) {
    const json::object* options = body.at("stream_options").if_object();
    if (options == nullptr) {
      return fail_param("stream_options", "'stream_options' must be an object");
    }
    GENESIS_TRY(const auto usage, get_bool(*options, "include_usage", "stream_options."));
    call.wire.include_usage = usage.value_or(false);
  }
  GENESIS_TRY(auto user, get_string(body, "user"));
  GENESIS_TRY(auto cache_key, get_string(body, "prompt_cache_key"));
  call.session_hint = cache_key ? *std::move(cache_key) : std::move(user).value_or("");
  GENESIS_TRY(const auto token_ids, get_bool(body, "return_token_ids"));
  call.wire.return_token_ids = token_ids.value_or(false);
  GENESIS_TRY(request.sampling, parse_openai_sampling(body));
  return call;
}

Result<void> read_chat_logprobs(const json::object& body, Sampling& sampling) {
  GENESIS_TRY(const auto want, get_bool(body, "logprobs"));
  sampling.want_logprobs = want.value_or(false);
  GENESIS_TRY(const auto top, get_int(body, "top_logprobs"));
  sampling.top_logprobs = top.value_or(0);
  if (sampling.top_logprobs != 0 && !sampling.want_logprobs) {
    return fail_param("top_logprobs", "'top_logprobs' needs 'logprobs': true");
  }
  return {};
}

// The `tools` array byte for byte, for templates and upstreams; last one wins as in the parsed
// tree.
Result<std::string> raw_tools(std::string_view text, const json::object& body) {
  if (!is_given(body, "tools")) {
    return std::string();
  }
  const json::array* tools = body.at("tools").if_array();
  if (tools == nullptr) {
    return fail_param("tools", "'tools' must be a list");
  }
  for (std::size_t i = 0; i < tools->size(); ++i) {
    if (!(*tools)[i].is_object()) {
      const std::string place = fmt::format("tools[{}]", i);
      return fail_param(place, fmt::format("'{}' must be an object", place));
    }
  }
  std::string raw;
  if (!tools->empty()) {
    GENESIS_TRY(const auto members, scan_members(text));
    for (const JsonMember& member : members) {
      if (member.key == "tools") {
        raw = member.value;
      }
    }
  }
  return raw;
}

Result<std::vector<std::int32_t>> parse_token_ids(const json::array& list) {
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json::value& item = list[i];
    const std::int64_t id = item.is_int64() ? item.get_int64() : -1;
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
      const std::string place = fmt::format("prompt[{}]", i);
      return fail_param(place, fmt::format("'{}' must be a token id", place));
    }
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

std::unexpected<Error> bad_prompt() {
  return fail_param("prompt", "'prompt' must be a string or a list of token ids");
}

Result<void> read_prompt(const json::object& body, ChatInput& input) {
  if (!is_given(body, "prompt")) {
    return fail_param("prompt", "'prompt' is required");
  }
  const json::value* prompt = &body.at("prompt");
  // [x] with a string or a list inside is a batch of one.
  if (prompt->is_array() && !prompt->get_array().empty() && !prompt->get_array()[0].is_number()) {
    if (prompt->get_array().size() > 1) {
      return fail_param("prompt",
                        "'prompt' may hold one prompt per request; send one request for each",
                        ErrorCode::kUnsupported);
    }
    prompt = &prompt->get_array()[0];
  }
  if (prompt->is_string()) {
    input.prompt = prompt->get_string();
    return {};
  }
  if (!prompt->is_array() || prompt->get_array().empty()) {
    return bad_prompt();
  }
  GENESIS_TRY(input.prompt_tokens, parse_token_ids(prompt->get_array()));
  return {};
}

Result<void> refuse_completion_extras(const json::object& body) {
  GENESIS_TRY(const auto suffix, get_string(body, "suffix"));
  if (suffix && !suffix->empty()) {
    return fail_param("suffix",
                      "'suffix' is not supported; put the text behind the gap into 'prompt'",
                      ErrorCode::kUnsupported);
  }
  GENESIS_TRY(const auto best_of, get_int(body, "best_of"));
  GENESIS_TRY(const auto n, get_int(body, "n"));
  if (best_of && *best_of != 1 && *best_of != n.value_or(1)) {
    return fail_param("best_of",
                      "'best_of' above 'n' is not supported; use 'n' and choose yourself",
                      ErrorCode::kUnsupported);
  }
  return {};
}

Result<void> read_completion_logprobs(const json::object& body, ChatRequest& request) {
  GENESIS_TRY(const auto logprobs, get_int(body, "logprobs"));
  GENESIS_TRY(const auto echo, get_bool(body, "echo"));
  request.echo = echo.value_or(false);
  if (logprobs && (*logprobs < 0 || *logprobs > kMaxCompletionLogprobs)) {
    return fail_param(
        "logprobs",
        fmt::format(
            "'logprobs' must be between 0 and {}, not {}", kMaxCompletionLogprobs, *logprobs));
  }
  request.sampling.want_logprobs = logprobs.has_value();
  request.sampling.top_logprobs = logprobs.value_or(0);
  request.sampling.want_prompt_logprobs = request.echo && logprobs.has_value();
  return {};
}

}  // namespace

Result<InferenceCall> parse_chat_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  return read_chat_request(body, text);
}

Result<InferenceCall> read_chat_request(const json::object& body, std::string_view text) {
  GENESIS_TRY(auto call, parse_common(body));
  call.request.dialect = Dialect::kOpenAiChat;
  GENESIS_TRY_VOID(read_chat_logprobs(body, call.request.sampling));
  auto input = std::make_shared<ChatInput>();
  GENESIS_TRY(input->messages, parse_messages(body));
  GENESIS_TRY(input->tools_json, raw_tools(text, body));
  GENESIS_TRY_VOID(read_answer_form(body, *input));
  input->body = text;
  call.request.input = std::move(input);
  GENESIS_TRY_VOID(validate_sampling(call.request.sampling));
  return call;
}

Result<InferenceCall> parse_completion_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  GENESIS_TRY(auto call, parse_common(body));
  call.request.dialect = Dialect::kOpenAiCompletion;
  GENESIS_TRY_VOID(refuse_completion_extras(body));
  GENESIS_TRY_VOID(read_completion_logprobs(body, call.request));
  auto input = std::make_shared<ChatInput>();
  GENESIS_TRY_VOID(read_prompt(body, *input));
  GENESIS_TRY_VOID(read_answer_form(body, *input));
  input->body = text;
  call.request.input = std::move(input);
  GENESIS_TRY_VOID(validate_sampling(call.request.sampling));
  return call;
}

}  // namespace genesis::server
