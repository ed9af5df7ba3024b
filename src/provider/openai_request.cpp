#include "provider/openai_request.h"

#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::provider {

namespace {

constexpr int kMaxCompletionLogprobs = 5;  // OpenAI's limit on /v1/completions

// `{"include_usage":true}` plus whatever else the client's own options hold.
std::string stream_options(std::string_view clients_own) {
  JsonWriter json;
  json.begin_object();
  if (const auto members = scan_members(clients_own)) {
    for (const JsonMember& member : *members) {
      if (member.key != "include_usage") {
        json.field_raw(member.key, member.value);
      }
    }
  }
  json.field_bool("include_usage", true);
  json.end_object();
  return json.take();
}

Result<std::string> rewrite_body(const ChatRequest& request, std::string_view model) {
  GENESIS_TRY(const auto members, scan_members(request.input->body));
  JsonWriter json;
  json.begin_object();
  json.field("model", model);
  std::string_view clients_options;
  for (const JsonMember& member : members) {
    if (member.key == "stream_options") {
      clients_options = member.value;
    } else if (member.key != "model" && member.key != "stream") {
      json.field_raw(member.key, member.value);
    }
  }
  json.field_bool("stream", request.stream);
  if (request.stream) {
    json.field_raw("stream_options", stream_options(clients_options));
  }
  json.end_object();
  return json.take();
}

void write_messages(JsonWriter& json, const ChatInput& input) {
  json.key("messages");
  json.begin_array();
  for (const ChatMessage& message : input.messages) {
    json.begin_object();
    json.field("role", message.role);
    if (message.parts_json.empty()) {
      json.field("content", message.content);
    } else {
      json.field_raw("content", message.parts_json);
    }
    if (!message.name.empty()) {
      json.field("name", message.name);
    }
    if (!message.tool_call_id.empty()) {
      json.field("tool_call_id", message.tool_call_id);
    }
    if (!message.tool_calls_json.empty()) {
      json.field_raw("tool_calls", message.tool_calls_json);
    }
    json.end_object();
  }
  json.end_array();
  if (!input.tools_json.empty()) {
    json.field_raw("tools", input.tools_json);
  }
}

void write_prompt(JsonWriter& json, const ChatInput& input) {
  json.key("prompt");
  if (input.prompt_tokens.empty()) {
    json.string(input.prompt);
    return;
  }
  json.begin_array();
  for (const std::int32_t id : input.prompt_tokens) {
    json.integer(id);
  }
  json.end_array();
}

// Only what differs from OpenAI's defaults, so that upstreams which refuse unknown fields see none.
void write_sampling(JsonWriter& json, const Sampling& s) {
  const Sampling usual;
  const auto number = [&](std::string_view name, double value, double standard) {
    if (value != standard) {
      json.field_number(name, value);
    }
  };
  const auto integer = [&](std::string_view name, int value) {
    if (value != 0) {
      json.field(name, std::int64_t{value});
    }
  };
  number("temperature", s.temperature, usual.temperature);
  number("top_p", s.top_p, usual.top_p);
  integer("top_k", s.top_k);
  number("typical_p", s.typical_p, usual.typical_p);
  number("min_p", s.min_p, usual.min_p);
  number("repetition_penalty", s.repetition_penalty, usual.repetition_penalty);
  number("presence_penalty", s.presence_penalty, usual.presence_penalty);
  number("frequency_penalty", s.frequency_penalty, usual.frequency_penalty);
  if (s.seed) {
    json.field_raw("seed", std::to_string(*s.seed));
  }
  if (s.max_tokens) {
    json.field("max_tokens", std::int64_t{*s.max_tokens});
  }
  integer("min_tokens", s.min_tokens);
  if (!s.stop.empty()) {
    json.key("stop");
    json.begin_array();
    for (const std::string& stop : s.stop) {
      json.string(stop);
    }
    json.end_array();
  }
  if (s.include_stop_in_output) {
    json.field_bool("include_stop_str_in_output", true);
  }
  if (s.ignore_eos) {
    json.field_bool("ignore_eos", true);
  }
  if (!s.logit_bias.empty()) {
    json.key("logit_bias");
    json.begin_object();
    for (const auto& [token, bias] : s.logit_bias) {
      json.field_number(std::to_string(token), bias);
    }
    json.end_object();
  }
}

void write_logprobs(JsonWriter& json, const ChatRequest& request, bool token_ids) {
  const Sampling& s = request.sampling;
  if (is_chat(request.dialect)) {
    if (s.want_logprobs) {
      json.field_bool("logprobs", true);
      json.field("top_logprobs", std::int64_t{s.top_logprobs});
    }
    return;
  }
  const bool tgi = request.dialect == Dialect::kTgi;
  if (s.want_logprobs || s.want_prompt_logprobs) {
    const int least = tgi ? 1 : 0;
    json.field("logprobs", std::int64_t{std::clamp(s.top_logprobs, least, kMaxCompletionLogprobs)});
  }
  if (request.echo || s.want_prompt_logprobs) {
    json.field_bool("echo", true);
  }
  if (tgi && token_ids) {
    json.field_bool("return_token_ids", true);
  }
}

// vLLM's and our engine's words: OpenAI's own completions cannot be given a form.
void write_form(JsonWriter& json, const AnswerFormat& format) {
  if (format.kind == AnswerFormat::Kind::kText) {
    return;
  }
  json.key("structured_outputs");
  json.begin_object();
  switch (format.kind) {
    case AnswerFormat::Kind::kText:
      break;
    case AnswerFormat::Kind::kJsonObject:
      json.field_bool("json_object", true);
      break;
    case AnswerFormat::Kind::kJsonSchema:
      json.field_raw("json", format.source);
      break;
    case AnswerFormat::Kind::kRegex:
      json.field("regex", format.source);
      break;
    case AnswerFormat::Kind::kGbnf:
      json.field("grammar", format.source);
      break;
  }
  json.end_object();
}

std::string write_body(const ChatRequest& request, std::string_view model, bool token_ids) {
  JsonWriter json;
  json.begin_object();
  json.field("model", model);
  if (is_chat(request.dialect)) {
    write_messages(json, *request.input);
  } else {
    write_prompt(json, *request.input);
  }
  if (request.n != 1) {
    json.field("n", std::int64_t{request.n});
  }
  write_sampling(json, request.sampling);
  write_logprobs(json, request, token_ids);
  write_form(json, request.input->format);
  json.field_bool("stream", request.stream);
  if (request.stream) {
    json.field_raw("stream_options", stream_options(""));
  }
  json.end_object();
  return json.take();
}

}  // namespace

std::string_view openai_target(Dialect dialect) {
  return is_chat(dialect) ? "/chat/completions" : "/completions";
}

Result<std::string> openai_request_body(const ChatRequest& request,
                                        std::string_view model,
                                        bool token_ids) {
  if (const std::string& field = request.input->native_only; !field.empty()) {
    return fail_param(field,
                      fmt::format("'{}' cannot be said in OpenAI's dialect", field),
                      ErrorCode::kUnsupported);
  }
  if (!request.input->body.empty() && request.dialect != Dialect::kTgi) {
    return rewrite_body(request, model);
  }
  return write_body(request, model, token_ids);
}

}  // namespace genesis::provider
