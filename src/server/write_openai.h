// OpenAI response objects: chat.completion, chat.completion.chunk, text_completion.
// Source: platform.openai.com/docs/api-reference; `token_ids`, `prompt_token_ids` and `stop_reason`
// as vLLM names them; reasoning under both of its names (`reasoning_content`, `reasoning`).
#pragma once

#include "api/chat.h"
#include "server/answer.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis::server {

std::string_view openai_finish(FinishReason reason);
std::string usage_json(const Usage& usage);
std::string token_ids_json(std::span<const TokenInfo> tokens);

// {"content":[{token,logprob,bytes,top_logprobs}],"refusal":null}
std::string chat_logprobs_json(std::span<const TokenInfo> tokens);

// The completions route's four parallel lists, piece by piece: text_offset counts on in characters
// from the start of the text.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(int top_logprobs) : top_logprobs_(top_logprobs) {}

  // `prompt` comes before `tokens`; the first token of a prompt has no logprob.
  std::string json(std::span<const TokenInfo> prompt, std::span<const TokenInfo> tokens);

 private:
  int top_logprobs_;
  std::int64_t offset_ = 0;
};

std::string chat_body(const AnswerMeta& meta,
                      const ServedBy& served,
                      const CollectedAnswer& answer,
                      const Usage& usage);
std::string completion_body(const AnswerMeta& meta,
                            const ServedBy& served,
                            const CollectedAnswer& answer,
                            const Usage& usage);

std::unique_ptr<StreamFormat> make_chat_stream(const AnswerMeta& meta);
std::unique_ptr<StreamFormat> make_completion_stream(const AnswerMeta& meta);

}  // namespace genesis::server
