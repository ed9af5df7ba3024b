// Answers that an upstream wrote as Anthropic events (ChatDelta::raw, raw_event), put together into
// the message for a client that does not stream: signatures of thoughts, citations and whatever
// else Genesis does not know survive.
#pragma once

#include <boost/json.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// Rules as in Anthropic's own clients: message_start is the base, content blocks follow by index,
// deltas append, message_delta closes.
class AnthropicRaw {
 public:
  // An event's data, or a whole message. Text that is neither is ignored: its meaning travels in
  // the delta's typed fields.
  void add(std::string_view raw);

  // The body, when the events made a whole message or one came at once.
  std::optional<std::string> body() const;

 private:
  struct Block {
    boost::json::object value;
    std::string input_json;  // of a tool's input, as far as it has come
  };

  void start_block(const boost::json::object& event);
  void add_delta(const boost::json::object& event);
  void close(const boost::json::object& event);

  std::string whole_;
  std::optional<boost::json::object> message_;
  std::vector<Block> blocks_;
  bool ended_ = false;
};

}  // namespace genesis::server
