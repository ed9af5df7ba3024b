// Anthropic response objects: the message, and the events of its stream.
// Source: docs.anthropic.com/en/api/messages and /messages-streaming.
#pragma once

#include "api/chat.h"
#include "server/answer.h"

#include <memory>
#include <string>
#include <string_view>

namespace genesis::server {

// Why an answer ended, in Anthropic's words.
struct AnthropicStop {
  std::string_view reason;  // end_turn, stop_sequence, max_tokens, tool_use, refusal
  std::string sequence;     // the text that stopped it, as far as it is known
};

AnthropicStop anthropic_stop(const ChatRequest& request,
                             FinishReason finish,
                             bool has_tools,
                             std::string_view stop_sequence);

// For a call to which the upstream gave no id.
std::string tool_use_id(const AnswerMeta& meta, std::size_t index);

// input_tokens counts what was neither read from a cache nor written to one, unlike Usage::input.
std::string anthropic_usage_json(const Usage& usage);

std::string message_body(const AnswerMeta& meta,
                         const ServedBy& served,
                         const CollectedAnswer& answer,
                         const Usage& usage);

std::unique_ptr<StreamFormat> make_message_stream(const AnswerMeta& meta);

}  // namespace genesis::server
