// JSON of an OpenAI-shaped upstream -> ChatDelta: stream chunks and whole bodies. No sockets here.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "base/result.h"
#include "provider/upstream.h"
#include "provider/upstream_errors.h"

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::provider {

// One JSON object of the upstream, read.
struct OpenAiChunk {
  std::vector<ChatDelta> deltas;  // in the upstream's order; may be empty
  std::optional<Usage> usage;
  bool absurd_usage = false;  // usage was there, but no number to book
  std::optional<UpstreamError> error;
};

// Reads the objects of one answer in order, as trees. Not thread-safe.
class OpenAiReader {
 public:
  // `request` outlives the reader.
  OpenAiReader(const ChatRequest& request, std::string endpoint);

  // A chunk of a stream or a whole body. Anything that cannot be used is kUpstream.
  Result<OpenAiChunk> read(std::string_view text);

 private:
  // Of one choice: how much of an echoed prompt is still to come.
  struct Choice {
    std::size_t echo_bytes_done = 0;
    std::size_t prompt_tokens_done = 0;
  };

  Result<OpenAiChunk> read_object(const boost::json::object& body);
  Result<ChatDelta> read_choice(const boost::json::object& choice);
  Result<void> read_message(const boost::json::object& message, ChatDelta& delta);
  Result<void> read_tokens(const boost::json::object& choice, ChatDelta& delta);
  bool wants_prompt() const;
  std::size_t count_prompt_tokens(const boost::json::object& choice,
                                  std::size_t known_ids,
                                  std::size_t tokens,
                                  int index);
  Result<void> strip_echo(ChatDelta& delta);
  FinishReason finish_reason(std::string_view name, const boost::json::object& choice) const;

  const ChatRequest& request_;
  std::string endpoint_;
  std::vector<Choice> choices_;
};

// A whole answer of either route, events or body.
class OpenAiAnswerReader final : public AnswerReader {
 public:
  struct Options {
    std::string endpoint;  // names it in messages
    bool raw = false;      // hand the upstream's JSON on with each delta
  };

  // `request` and `clock` outlive the reader.
  OpenAiAnswerReader(const ChatRequest& request, Options options, const Clock& clock);

  Result<AnswerPart> read_event(net::SseEvent& event) override;
  Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) override;
  Error read_refusal(int status, const net::Headers& headers, std::string_view body) override;

 private:
  AnswerPart part_of(OpenAiChunk chunk) const;
  void attach_raw(AnswerPart& part, std::string raw) const;

  const ChatRequest& request_;
  Options options_;
  const Clock& clock_;
  OpenAiReader reader_;
  bool scans_ = false;  // plain chunks need no tree
  bool first_ = true;
};

}  // namespace genesis::provider
