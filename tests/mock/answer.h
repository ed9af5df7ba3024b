// The mock upstream's answers: always the same text, and OpenAI's wire format around it.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::mock {

// The parts of a request that decide the answer.
struct Ask {
  std::string model;
  bool chat = true;
  bool stream = false;
  bool include_usage = false;
  std::int64_t prompt_tokens = 0;
  std::int64_t max_tokens = -1;  // -1 = not given
  std::string last_role;
};

// `path` tells chat from completion. Counting is simple on purpose, so that a test can do it by
// hand: one token per blank-separated word of all contents, at least one.
Result<Ask> read_ask(std::string_view path, std::string_view body);

// `words` tokens, each a word with a leading blank but the first; some are not ASCII.
std::vector<std::string> answer_tokens(std::int64_t words);

struct AnswerUsage {
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
};

// A whole JSON answer, one delta, the last chunk with its reason, the usage chunk, an error object.
std::string whole_answer(const Ask& ask,
                         std::string_view text,
                         std::string_view finish,
                         const AnswerUsage* usage);
std::string delta_event(const Ask& ask, std::string_view text, bool first);
std::string finish_event(const Ask& ask, std::string_view finish);
std::string usage_event(const Ask& ask, AnswerUsage usage);
std::string error_object(std::string_view message, std::string_view type, std::string_view code);

}  // namespace genesis::mock
