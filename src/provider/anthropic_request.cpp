#include "provider/anthropic_request.h"

#include "base/json.h"
#include "provider/anthropic_messages.h"
#include "provider/openai_request.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace genesis::provider {

namespace {

namespace json = boost::json;

// The version whose wire format this file and anthropic_response.cpp speak.
constexpr std::string_view kVersion = "2023-06-01";

// The API's smallest thinking budget.
constexpr std::int64_t kLeastThinking = 1024;
// Thinking tokens for OpenAI's words, as other gateways have settled on.
constexpr std::int64_t kMediumThinking = 2048;
constexpr std::int64_t kHighThinking = 4096;

const json::value* given(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool is_true(const json::object& object, std::string_view key) {
  const json::value* value = given(object, key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::unexpected<Error> wrong(std::string_view param, std::string_view must) {
  return fail_param(std::string(param), fmt::format("'{}' {}", param, must));
}

// `stream`: nullopt where the call has no such word.
Result<std::string> rewrite_native(const std::string& native,
                                   std::string_view model,
                                   std::optional<bool> stream) {
  GENESIS_TRY(const auto members, scan_members(native));
  JsonWriter out;
  out.begin_object();
  out.field("model", model);
  for (const JsonMember& member : members) {
    if (member.key != "model" && member.key != "stream") {
      out.field_raw(member.key, member.value);
    }
  }
  if (stream) {
    out.field_bool("stream", *stream);
  }
  out.end_object();
  return out.take();
}

// Translates one body in OpenAI's form.
class Translation {
 public:
  Translation(const json::object& body, const UpstreamOptions& options)
      : body_(body), options_(options) {}

  Result<std::string> run(std::string_view model, bool stream) {
    GENESIS_TRY_VOID(refuse_unsupported());
    out_.begin_object();
    out_.field("model", model);
    const json::value* messages = given(body_, "messages");
    if (messages == nullptr || !messages->is_array()) {
      return wrong("messages", "must be a list");
    }
    GENESIS_TRY_VOID(write_anthropic_messages(out_, messages->get_array()));
    GENESIS_TRY_VOID(write_tools());
    GENESIS_TRY_VOID(write_limits());
    GENESIS_TRY_VOID(write_sampling());
    if (const json::value* user = given(body_, "user"); user != nullptr && user->is_string()) {
      out_.key("metadata");
      out_.begin_object();
      out_.field("user_id", std::string_view(user->get_string()));
      out_.end_object();
    }
    out_.field_bool("stream", stream);
    out_.end_object();
    return out_.take();
  }

 private:
  Result<void> refuse_unsupported() const;
  Result<void> write_tools();
  Result<void> write_tool(const json::value& tool, const std::string& where);
  Result<void> write_tool_choice();
  Result<void> write_limits();
  Result<void> write_sampling();
  bool may_think() const;

  const json::object& body_;
  const UpstreamOptions& options_;
  JsonWriter out_;
  bool has_tools_ = false;
  bool forces_tool_ = false;
  bool thinks_ = false;
};

Result<void> Translation::refuse_unsupported() const {
  GENESIS_TRY(const auto n, get_integer(body_, "n"));
  if (n.value_or(1) != 1) {
    return cannot(options_, "give several choices", "n");
  }
  if (is_true(body_, "logprobs") || given(body_, "top_logprobs") != nullptr) {
    return cannot(options_, "tell logprobs", "logprobs");
  }
  if (const json::value* bias = given(body_, "logit_bias");
      bias != nullptr && !(bias->is_object() && bias->get_object().empty())) {
    return cannot(options_, "bias tokens", "logit_bias");
  }
  if (const json::value* format = given(body_, "response_format"); format != nullptr) {
    const json::value* type =
        format->is_object() ? format->get_object().if_contains("type") : nullptr;
    if (type == nullptr || !type->is_string() || type->get_string() != "text") {
      return cannot(options_, "force the form of an answer", "response_format");
    }
  }
  for (const std::string_view field : {"audio",
                                       "functions",
                                       "function_call",
                                       "prediction",
                                       "web_search_options",
                                       "guided_json",
                                       "guided_regex",
                                       "guided_choice",
                                       "guided_grammar",
                                       "structured_outputs"}) {
    if (given(body_, field) != nullptr) {
      return cannot(options_, fmt::format("honour '{}'", field), std::string(field));
    }
  }
  return {};
}

Result<void> Translation::write_tool(const json::value& tool, const std::string& where) {
  const json::object* object = tool.if_object();
  const json::value* function = object == nullptr ? nullptr : given(*object, "function");
  if (function == nullptr || !function->is_object()) {
    return cannot(options_, "use tools other than functions", where);
  }
  const json::object& fields = function->get_object();
  GENESIS_TRY(const auto name, get_string(fields, "name", where + ".function."));
  GENESIS_TRY(const auto description, get_string(fields, "description", where + ".function."));
  if (!name) {
    return wrong(where + ".function.name", "is missing");
  }
  out_.begin_object();
  out_.field("name", *name);
  if (description) {
    out_.field("description", *description);
  }
  const json::value* parameters = given(fields, "parameters");
  out_.field_raw("input_schema",
                 parameters != nullptr && parameters->is_object()
                     ? json::serialize(*parameters)
                     : R"({"type":"object","properties":{}})");
  if (const json::value* cache = given(*object, "cache_control")) {
    out_.field_raw("cache_control", json::serialize(*cache));
  }
  out_.end_object();
  return {};
}

Result<void> Translation::write_tools() {
  const json::value* tools = given(body_, "tools");
  if (tools == nullptr) {
    return {};
  }
  if (!tools->is_array()) {
    return wrong("tools", "must be a list");
  }
  if (tools->get_array().empty()) {
    return {};
  }
  has_tools_ = true;
  out_.key("tools");
  out_.begin_array();
  std::size_t at = 0;
  for (const json::value& tool : tools->get_array()) {
    GENESIS_TRY_VOID(write_tool(tool, fmt::format("tools[{}]", at++)));
  }
  out_.end_array();
  return write_tool_choice();
}

Result<void> Translation::write_tool_choice() {
  const json::value* choice = given(body_, "tool_choice");
  const json::value* parallel = given(body_, "parallel_tool_calls");
  const bool one_at_a_time = parallel != nullptr && parallel->is_bool() && !parallel->get_bool();
  if (choice == nullptr && !one_at_a_time) {
    return {};
  }
  std::string type = "auto";
  std::string name;
  if (choice != nullptr && choice->is_string()) {
    const std::string_view word = choice->get_string();
    if (word != "auto" && word != "none" && word != "required") {
      return wrong("tool_choice", "must be 'auto', 'none', 'required' or name a function");
    }
    type = word == "required" ? "any" : std::string(word);
  } else if (choice != nullptr) {
    const json::value* function =
        choice->is_object() ? given(choice->get_object(), "function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return cannot(options_, "honour this 'tool_choice'", "tool_choice");
    }
    GENESIS_TRY(const auto wanted,
                get_string(function->get_object(), "name", "tool_choice.function."));
    type = "tool";
    name = wanted.value_or("");
  }
  forces_tool_ = type == "any" || type == "tool";
  out_.key("tool_choice");
  out_.begin_object();
  out_.field("type", type);
  if (!name.empty()) {
    out_.field("name", name);
  }
  if (one_at_a_time && type != "none") {
    out_.field_bool("disable_parallel_tool_use", true);
  }
  out_.end_object();
  return {};
}

// The API wants the thinking of earlier turns back, signed, where they called tools, and forces no
// tool on a thinking model. OpenAI's form carries no signatures.
bool Translation::may_think() const {
  const auto has_calls = [](const json::value& message) {
    return message.is_object() && given(message.get_object(), "tool_calls") != nullptr;
  };
  return !forces_tool_ && std::ranges::none_of(body_.at("messages").get_array(), has_calls);
}

Result<void> Translation::write_limits() {
  GENESIS_TRY(const auto older, get_integer(body_, "max_tokens"));
  GENESIS_TRY(const auto newer, get_integer(body_, "max_completion_tokens"));
  const std::int64_t most = newer ? *newer : older.value_or(kDefaultMaxTokens);
  out_.field("max_tokens", most);
  GENESIS_TRY(const auto effort, get_string(body_, "reasoning_effort"));
  std::int64_t budget = 0;
  if (effort == "low") {
    budget = kLeastThinking;
  } else if (effort == "medium") {
    budget = kMediumThinking;
  } else if (effort == "high" || effort == "xhigh") {
    budget = kHighThinking;
  }
  // OpenAI's limit counts the reasoning, too: a part of it stays for the answer.
  budget = std::min(budget, most * 3 / 4);
  if (budget >= kLeastThinking && may_think()) {
    thinks_ = true;
    out_.key("thinking");
    out_.begin_object();
    out_.field("type", "enabled");
    out_.field("budget_tokens", budget);
    out_.end_object();
  }
  return {};
}

Result<std::vector<std::string>> read_stops(const json::object& body) {
  std::vector<std::string> stops;
  const json::value* stop = given(body, "stop");
  if (stop == nullptr) {
    return stops;
  }
  if (stop->is_string()) {
    stops.emplace_back(stop->get_string());
    return stops;
  }
  if (!stop->is_array()) {
    return wrong("stop", "must be a string or a list of strings");
  }
  for (const json::value& item : stop->get_array()) {
    if (!item.is_string()) {
      return wrong("stop", "must be a string or a list of strings");
    }
    stops.emplace_back(item.get_string());
  }
  return stops;
}

Result<void> Translation::write_sampling() {
  GENESIS_TRY(const auto temperature, get_number(body_, "temperature"));
  GENESIS_TRY(const auto top_p, get_number(body_, "top_p"));
  GENESIS_TRY(const auto top_k, get_integer(body_, "top_k"));
  // A thinking model samples its own way. Newer models refuse temperature beside top_p.
  if (!thinks_) {
    if (temperature) {
      out_.field_number("temperature", std::clamp(*temperature, 0.0, 1.0));
    }
    if (top_p && *top_p < 1.0 && !temperature) {
      out_.field_number("top_p", *top_p);
    }
    if (top_k && *top_k > 0) {
      out_.field("top_k", *top_k);
    }
  }
  GENESIS_TRY(const auto stops, read_stops(body_));
  if (stops.empty()) {
    return {};
  }
  out_.key("stop_sequences");
  out_.begin_array();
  for (const std::string& stop : stops) {
    if (stop.find_first_not_of(" \t\r\n") == std::string::npos) {
      return cannot(options_, "stop at blanks", "stop");
    }
    out_.string(stop);
  }
  out_.end_array();
  return {};
}

// A prompt as the one user turn of a conversation, in OpenAI's form.
Result<std::string> prompt_as_chat(const ChatRequest& request, const UpstreamOptions& options) {
  const ChatInput& input = *request.input;
  const Sampling& sampling = request.sampling;
  if (!input.prompt_tokens.empty()) {
    return cannot(options, "read a prompt of token ids", "prompt");
  }
  // TGI's clients ask for the tokens to learn the finish reason, and take them without logprobs.
  const bool wants_logprobs =
      request.dialect == Dialect::kTgi ? sampling.top_logprobs > 0 : sampling.want_logprobs;
  if (request.echo || wants_logprobs || sampling.want_prompt_logprobs) {
    return cannot(options, "tell logprobs or echo a prompt", request.echo ? "echo" : "logprobs");
  }
  ChatRequest chat = request;
  chat.dialect = Dialect::kOpenAiChat;
  chat.sampling.want_logprobs = false;
  auto turned = std::make_shared<ChatInput>();
  turned->messages.push_back({.role = "user", .content = input.prompt});
  chat.input = std::move(turned);
  return openai_request_body(chat, "", false);
}

}  // namespace

Result<std::string> anthropic_request_body(const ChatRequest& request,
                                           const UpstreamOptions& options,
                                           bool stream) {
  if (is_embed(request.dialect)) {
    return cannot(options, "embed or score texts");
  }
  const std::string& model = model_of(options, request);
  const ChatInput& input = *request.input;
  if (request.dialect == Dialect::kAnthropic && !input.native.empty()) {
    return rewrite_native(input.native, model, stream);
  }
  std::string body = input.body;
  if (!is_chat(request.dialect)) {
    GENESIS_TRY(body, prompt_as_chat(request, options));
  } else if (body.empty()) {
    GENESIS_TRY(body, openai_request_body(request, model, false));
  }
  GENESIS_TRY(const json::value parsed, parse_json(body));
  if (!parsed.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  }
  return Translation(parsed.get_object(), options).run(model, stream);
}

Result<std::string> anthropic_count_body(const ChatRequest& request,
                                         const UpstreamOptions& options) {
  if (request.dialect != Dialect::kAnthropic || request.input->native.empty()) {
    return cannot(options, "count the tokens of another dialect's request");
  }
  return rewrite_native(request.input->native, model_of(options, request), std::nullopt);
}

net::Headers anthropic_headers(const UpstreamOptions& options, const ChatRequest& request) {
  net::Headers headers;
  headers.set("anthropic-version", kVersion);
  if (request.dialect == Dialect::kAnthropic) {
    for (const auto& [name, value] : request.input->native_headers) {
      headers.set(name, value);
    }
  }
  if (!options.api_key.empty()) {
    headers.set("x-api-key", options.api_key);
  }
  return headers;
}

}  // namespace genesis::provider
