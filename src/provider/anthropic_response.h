// Anthropic's events and messages -> ChatDelta. No sockets here.
#pragma once

#include "api/chat.h"
#include "provider/upstream.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::provider {

// Reads one answer. Text and thinking become text and reasoning; a tool's use becomes a tool call
// in OpenAI's form, arguments piece by piece; blocks of the provider's own tools are told only in
// `raw`. Cached input is counted into `input`. The finish comes with message_stop, so a stream that
// ends before it is cut. Pings are dropped.
class AnthropicReader final : public AnswerReader {
 public:
  // `request` and `clock` outlive the reader.
  AnthropicReader(const ChatRequest& request, std::string endpoint, const Clock& clock);

  Result<AnswerPart> read_event(net::SseEvent& event) override;
  Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) override;
  Error read_refusal(int status, const net::Headers& headers, std::string_view body) override;

 private:
  // A tool whose use is being told.
  struct Tool {
    std::int64_t index = 0;  // among the calls of this answer
    bool has_arguments = false;
  };

  Result<AnswerPart> read_object(const boost::json::object& event, std::string_view name);
  Result<ChatDelta> read_block_start(const boost::json::object& event);
  Result<ChatDelta> read_block_delta(const boost::json::object& event);
  Result<ChatDelta> read_block_stop(const boost::json::object& event);
  Result<AnswerPart> read_message_delta(const boost::json::object& event);
  Result<AnswerPart> read_message(const boost::json::object& message);
  Result<void> add_block(const boost::json::object& block, ChatDelta& delta);
  Result<void> read_stop(const boost::json::object& holder);
  bool read_usage(const boost::json::object& holder);
  Usage usage() const;
  std::string shown_stop() const;
  ChatDelta finish_delta() const;

  const ChatRequest& request_;
  std::string endpoint_;
  const Clock& clock_;
  std::map<std::int64_t, Tool> tools_;  // by block index; those that are open
  std::int64_t calls_ = 0;
  std::optional<FinishReason> finish_;
  std::string stop_sequence_;
  // As told so far; message_delta repeats what has changed since message_start.
  std::int64_t fresh_input_ = 0;
  std::int64_t cache_read_ = 0;
  std::int64_t cache_write_ = 0;
  std::int64_t output_ = 0;
};

}  // namespace genesis::provider
