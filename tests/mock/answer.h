// The mock upstream's answers: always the same text, and each dialect's wire format around it.
#pragma once

#include "ask.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::mock {

// One server-sent event.
struct Event {
  std::string name;  // empty = none
  std::string data;
};

// A token, of the kinds that an answer is made of.
struct Piece {
  enum class Kind : std::uint8_t { kThinking, kText, kCall };

  Kind kind = Kind::kText;
  std::string text;       // of kCall: a part of its arguments
  bool begins = false;    // of kCall: the first of a call
  std::int64_t call = 0;  // of kCall: which
};

struct AnswerUsage {
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
  std::int64_t cached = 0;       // part of `prompt`
  std::int64_t cache_write = 0;  // part of `prompt`
  std::int64_t reasoning = 0;    // part of `completion`
};

// A whole answer.
struct Answer {
  std::vector<Piece> pieces;
  std::string finish;  // in OpenAI's words: stop, length, tool_calls, content_filter
  AnswerUsage usage;
  bool tells_usage = true;
};

// `words` tokens, each a word with a leading blank but the first; some are not ASCII.
std::vector<std::string> answer_tokens(std::int64_t words);

// Writes the events of one stream, in the order of the functions.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  virtual std::vector<Event> begin() = 0;
  virtual std::vector<Event> piece(const Piece& piece) = 0;
  virtual std::vector<Event> finish(const Answer& answer) = 0;
  // The event after which the dialect expects nothing; empty data where it has none.
  virtual Event done() = 0;
};

// `ask` outlives the writer.
std::unique_ptr<StreamWriter> make_stream_writer(const Ask& ask, const AnswerUsage& usage);
std::unique_ptr<StreamWriter> make_openai_writer(const Ask& ask);
std::unique_ptr<StreamWriter> make_anthropic_writer(const Ask& ask, const AnswerUsage& usage);
std::unique_ptr<StreamWriter> make_tgi_writer(const Ask& ask);

// A whole JSON answer.
std::string whole_answer(const Ask& ask, const Answer& answer);
std::string whole_openai(const Ask& ask, const Answer& answer);
std::string whole_anthropic(const Ask& ask, const Answer& answer);
std::string whole_tgi(const Ask& ask, const Answer& answer);
// Vectors of eight numbers, scores or labels that depend on the texts alone.
std::string whole_embed(const Ask& ask, const AnswerUsage& usage);

// An error in the words of `wire`; `status` and `code` choose its type.
std::string error_object(Wire wire, int status, std::string_view message, std::string_view code);

}  // namespace genesis::mock
