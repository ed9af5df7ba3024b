#include "server/write_anthropic.h"

#include "base/json.h"

#include <algorithm>

namespace genesis::server {

namespace {

void write_tool_use(JsonWriter& w, const ToolCallMerger::Call& call, std::string_view fallback_id) {
  w.begin_object();
  w.field("type", "tool_use");
  w.field("id", call.id.empty() ? fallback_id : std::string_view(call.id));
  w.field("name", call.name);
  // A model may write arguments that are no JSON; the client must still get an object.
  const auto input = scan_members(call.arguments);
  const bool is_object = input.has_value() && parse_json(call.arguments).has_value();
  if (is_object) {
    w.field_raw("input", call.arguments);
  } else {
    w.key("input");
    w.begin_object();
    if (!call.arguments.empty()) {
      w.field("arguments", call.arguments);
    }
    w.end_object();
  }
  w.end_object();
}

void write_content(JsonWriter& w, const AnswerMeta& meta, const CollectedChoice& choice) {
  w.begin_array();
  if (!choice.reasoning.empty()) {
    w.begin_object();
    w.field("type", "thinking");
    w.field("thinking", choice.reasoning);
    w.field("signature", "");
    w.end_object();
  }
  if (!choice.text.empty() || (choice.tool_calls.empty() && choice.reasoning.empty())) {
    w.begin_object();
    w.field("type", "text");
    w.field("text", choice.text);
    w.end_object();
  }
  std::size_t at = 0;
  for (const ToolCallMerger::Call& call : choice.tool_calls.calls()) {
    write_tool_use(w, call, tool_use_id(meta, at++));
  }
  w.end_array();
}

}  // namespace

std::string tool_use_id(const AnswerMeta& meta, std::size_t index) {
  return "toolu_" + std::string(serial_of(meta)) + "_" + std::to_string(index);
}

AnthropicStop anthropic_stop(const ChatRequest& request,
                             FinishReason finish,
                             bool has_tools,
                             std::string_view stop_sequence) {
  switch (finish) {
    case FinishReason::kLength:
      return {.reason = "max_tokens", .sequence = {}};
    case FinishReason::kContentFilter:
      return {.reason = "refusal", .sequence = {}};
    case FinishReason::kToolCalls:
      return {.reason = "tool_use", .sequence = {}};
    case FinishReason::kStopSequence: {
      const auto& stops = request.sampling.stop;
      std::string matched(stop_sequence);
      if (matched.empty() && stops.size() == 1) {
        matched = stops.front();
      }
      return {.reason = "stop_sequence", .sequence = std::move(matched)};
    }
    case FinishReason::kStop:
      break;
  }
  // Some servers end with "stop" after a tool call.
  return {.reason = has_tools ? "tool_use" : "end_turn", .sequence = {}};
}

std::string anthropic_usage_json(const Usage& usage) {
  const std::int64_t fresh =
      std::max<std::int64_t>(0, usage.input - usage.cached_input - usage.cache_write);
  JsonWriter w;
  w.begin_object();
  w.field("input_tokens", fresh);
  w.field("cache_creation_input_tokens", usage.cache_write);
  w.field("cache_read_input_tokens", usage.cached_input);
  w.field("output_tokens", usage.output);
  w.end_object();
  return w.take();
}

std::string message_body(const AnswerMeta& meta,
                         const ServedBy& served,
                         const CollectedAnswer& answer,
                         const Usage& usage) {
  if (auto own = answer.native_body()) {
    return *std::move(own);
  }
  const CollectedChoice& choice = answer.choices().front();
  const AnthropicStop stop = anthropic_stop(meta.call.request,
                                            choice.finish.value_or(FinishReason::kStop),
                                            !choice.tool_calls.empty(),
                                            choice.stop_sequence);
  JsonWriter w;
  w.begin_object();
  w.field("id", meta.id);
  w.field("type", "message");
  w.field("role", "assistant");
  w.field("model", served.model);
  w.key("content");
  write_content(w, meta, choice);
  w.field("stop_reason", stop.reason);
  if (stop.sequence.empty()) {
    w.field_null("stop_sequence");
  } else {
    w.field("stop_sequence", stop.sequence);
  }
  w.field_raw("usage", anthropic_usage_json(usage));
  w.end_object();
  return w.take();
}

}  // namespace genesis::server
