#include "server/write_openai.h"

#include "base/json.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace genesis::server {

namespace {

// OpenAI writes -9999.0 for "very unlikely", because JSON has no minus infinity.
float finite_logprob(float logprob) {
  return std::isfinite(logprob) ? std::max(logprob, -9999.0F) : -9999.0F;
}

void write_token(JsonWriter& w, std::string_view text, float logprob) {
  w.field("token", text);
  w.key("logprob");
  w.number(finite_logprob(logprob));
  w.key("bytes");
  w.begin_array();
  for (const char c : text) {
    w.integer(static_cast<unsigned char>(c));
  }
  w.end_array();
}

std::int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

// Token to logprob; the chosen token is always among them, as at OpenAI.
void write_top_map(JsonWriter& w, const TokenInfo& token) {
  w.begin_object();
  bool has_chosen = false;
  for (const TokenAlternative& other : token.top) {
    has_chosen = has_chosen || other.text == token.text;
    w.key(other.text);
    w.number(finite_logprob(other.logprob));
  }
  if (!has_chosen) {
    w.key(token.text);
    w.number(finite_logprob(token.logprob));
  }
  w.end_object();
}

constexpr std::array<std::string_view, 5> kHeadKeys{
    "id", "created", "model", "system_fingerprint", "usage"};

// Ours, or the upstream's where it speaks OpenAI itself.
void write_head(JsonWriter& w, const AnswerMeta& meta, const ServedBy& served, const char* object) {
  w.field("id", meta.id);
  w.field("object", object);
  w.field("created", meta.created);
  w.field("model", served.model);
  w.field("system_fingerprint", meta.fingerprint);
}

void write_raw_head(JsonWriter& w, const RawMembers& raw, const char* object) {
  for (const std::string_view key : kHeadKeys) {
    const auto value = raw.get(key);
    if (value && key != "usage") {
      w.field_raw(key, *value);
    }
    if (key == "id") {
      w.field("object", object);
    }
  }
  for (const RawMember& member : raw.all()) {
    if (std::ranges::find(kHeadKeys, member.key) == kHeadKeys.end()) {
      w.field_raw(member.key, member.value);
    }
  }
}

void write_all(JsonWriter& w, const RawMembers& members) {
  for (const RawMember& member : members.all()) {
    w.field_raw(member.key, member.value);
  }
}

void write_finish(JsonWriter& w, const CollectedChoice& choice, const RawMembers& raw) {
  const FinishReason finish = choice.finish.value_or(FinishReason::kStop);
  w.field("finish_reason", openai_finish(finish));
  if (finish == FinishReason::kStopSequence && !raw.get("stop_reason")) {
    w.field("stop_reason", "stop_sequence");
  }
  write_all(w, raw);
}

// True when what the model said is its refusal, which the upstream told apart from content.
bool is_refusal(const CollectedChoice& choice, const RawMembers& raw) {
  const auto refusal = raw.get("refusal");
  if (!refusal) {
    return false;
  }
  std::string said;
  append_json_string(said, choice.text);
  return said == *refusal;
}

void write_message(JsonWriter& w, const CollectedChoice& choice, const RawMembers& raw) {
  w.key("message");
  w.begin_object();
  w.field("role", "assistant");
  if ((choice.text.empty() && !choice.tool_calls.empty()) || is_refusal(choice, raw)) {
    w.field_null("content");
  } else {
    w.field("content", choice.text);
  }
  if (!choice.reasoning.empty()) {
    w.field("reasoning_content", choice.reasoning);
    w.field("reasoning", choice.reasoning);
  }
  if (!choice.tool_calls.empty()) {
    w.field_raw("tool_calls", choice.tool_calls.to_json());
  }
  write_all(w, raw);
  w.end_object();
}

void write_chat_choice(JsonWriter& w,
                       const InferenceCall& call,
                       const CollectedAnswer& answer,
                       std::size_t index) {
  const CollectedChoice& choice = answer.choices()[index];
  w.begin_object();
  w.field("index", static_cast<std::int64_t>(index));
  write_message(w, choice, answer.openai().message(index));
  if (call.request.sampling.want_logprobs && !choice.tokens.empty()) {
    w.field_raw("logprobs", chat_logprobs_json(choice.tokens));
  } else {
    w.field_null("logprobs");
  }
  write_finish(w, choice, answer.openai().choice(index));
  if (call.wire.return_token_ids) {
    w.field_raw("token_ids", token_ids_json(choice.tokens));
  }
  w.end_object();
}

void write_completion_choice(JsonWriter& w,
                             const InferenceCall& call,
                             const CollectedAnswer& answer,
                             std::size_t index) {
  const CollectedChoice& choice = answer.choices()[index];
  w.begin_object();
  w.field("text", choice.text);
  w.field("index", static_cast<std::int64_t>(index));
  if (call.request.sampling.want_logprobs && !choice.tokens.empty()) {
    CompletionLogprobs logprobs(call.request.sampling.top_logprobs);
    w.field_raw("logprobs", logprobs.json(choice.prompt_tokens, choice.tokens));
  } else {
    w.field_null("logprobs");
  }
  write_finish(w, choice, answer.openai().choice(index));
  if (call.wire.return_token_ids) {
    w.field_raw("token_ids", token_ids_json(choice.tokens));
    if (!choice.prompt_tokens.empty()) {
      w.field_raw("prompt_token_ids", token_ids_json(choice.prompt_tokens));
    }
  }
  w.end_object();
}

}  // namespace

std::string_view openai_finish(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kStopSequence:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kToolCalls:
      return "tool_calls";
    case FinishReason::kContentFilter:
      return "content_filter";
  }
  return "stop";
}

std::string usage_json(const Usage& usage) {
  JsonWriter w;
  w.begin_object();
  w.field("prompt_tokens", usage.input);
  w.field("completion_tokens", usage.output);
  w.field("total_tokens", usage.input + usage.output);
  w.key("prompt_tokens_details");
  w.begin_object();
  w.field("cached_tokens", usage.cached_input);
  w.end_object();
  w.key("completion_tokens_details");
  w.begin_object();
  w.field("reasoning_tokens", usage.reasoning);
  w.end_object();
  w.end_object();
  return w.take();
}

std::string token_ids_json(std::span<const TokenInfo> tokens) {
  JsonWriter w;
  w.begin_array();
  for (const TokenInfo& token : tokens) {
    w.integer(token.id);
  }
  w.end_array();
  return w.take();
}

std::string chat_logprobs_json(std::span<const TokenInfo> tokens) {
  JsonWriter w;
  w.begin_object();
  w.key("content");
  w.begin_array();
  for (const TokenInfo& token : tokens) {
    w.begin_object();
    write_token(w, token.text, token.logprob);
    w.key("top_logprobs");
    w.begin_array();
    for (const TokenAlternative& other : token.top) {
      w.begin_object();
      write_token(w, other.text, other.logprob);
      w.end_object();
    }
    w.end_array();
    w.end_object();
  }
  w.end_array();
  w.field_null("refusal");
  w.end_object();
  return w.take();
}

std::string CompletionLogprobs::json(std::span<const TokenInfo> prompt,
                                     std::span<const TokenInfo> tokens) {
  JsonWriter offsets;
  JsonWriter logprobs;
  JsonWriter texts;
  JsonWriter tops;
  for (JsonWriter* list : {&offsets, &logprobs, &texts, &tops}) {
    list->begin_array();
  }
  const auto add = [&](const TokenInfo& token, bool first_of_prompt) {
    offsets.integer(offset_);
    offset_ += count_characters(token.text);
    texts.string(token.text);
    if (first_of_prompt) {
      logprobs.null();
      tops.null();
    } else {
      logprobs.number(finite_logprob(token.logprob));
      write_top_map(tops, token);
    }
  };
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    add(prompt[i], i == 0);
  }
  for (const TokenInfo& token : tokens) {
    add(token, false);
  }
  for (JsonWriter* list : {&offsets, &logprobs, &texts, &tops}) {
    list->end_array();
  }
  JsonWriter w;
  w.begin_object();
  w.field_raw("text_offset", offsets.str());
  w.field_raw("token_logprobs", logprobs.str());
  w.field_raw("tokens", texts.str());
  w.field_raw("top_logprobs", top_logprobs_ > 0 ? std::string_view(tops.str()) : "null");
  w.end_object();
  return w.take();
}

namespace {

// What both bodies share: head, choices, usage; or the upstream's own body.
template <typename WriteChoice>
std::string whole_answer(const AnswerMeta& meta,
                         const ServedBy& served,
                         const CollectedAnswer& answer,
                         const Usage& usage,
                         const WriteChoice& write_choice) {
  if (auto own = answer.native_body()) {
    return *std::move(own);
  }
  const bool chat = meta.call.request.dialect == Dialect::kOpenAiChat;
  const char* const object = chat ? "chat.completion" : "text_completion";
  const RawMembers& raw = answer.openai().top();
  JsonWriter w;
  w.begin_object();
  if (raw.get("id")) {
    write_raw_head(w, raw, object);
  } else {
    write_head(w, meta, served, object);
  }
  w.key("choices");
  w.begin_array();
  for (std::size_t i = 0; i < answer.choices().size(); ++i) {
    write_choice(w, meta.call, answer, i);
  }
  w.end_array();
  const auto told = raw.get("usage");
  w.field_raw("usage", told ? std::string(*told) : usage_json(usage));
  w.end_object();
  return w.take();
}

}  // namespace

std::string chat_body(const AnswerMeta& meta,
                      const ServedBy& served,
                      const CollectedAnswer& answer,
                      const Usage& usage) {
  return whole_answer(meta, served, answer, usage, write_chat_choice);
}

std::string completion_body(const AnswerMeta& meta,
                            const ServedBy& served,
                            const CollectedAnswer& answer,
                            const Usage& usage) {
  return whole_answer(meta, served, answer, usage, write_completion_choice);
}

}  // namespace genesis::server
