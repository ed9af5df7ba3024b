// OpenAI answers that an upstream wrote in that same dialect: its objects (ChatDelta::raw) go to
// the client as they are, chunk by chunk or put together, so that members which Genesis does not
// know survive. No sockets here.
#pragma once

#include "api/chat.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// A member of an object by name, its value as JSON.
struct RawMember {
  std::string key;
  std::string value;
};

// In the order of first sight.
class RawMembers {
 public:
  // Keeps the last value that is not null.
  void put(std::string_view key, std::string_view value);
  // As the pieces of a delta add up: strings and lists are appended to, the rest is replaced.
  void append(std::string_view key, std::string_view value);
  std::optional<std::string_view> get(std::string_view key) const;

  const std::vector<RawMember>& all() const { return members_; }

 private:
  RawMember* find(std::string_view key);

  std::vector<RawMember> members_;
};

// The stream chunks of one answer, added up as far as their members are not read elsewhere.
class OpenAiRaw {
 public:
  explicit OpenAiRaw(std::size_t choices) : choices_(choices), messages_(choices) {}

  // Text that is no such object is ignored: its meaning travels in the delta's typed fields.
  void add(std::string_view raw);

  // The answer's whole body, when the upstream did not stream it.
  std::optional<std::string_view> whole() const;

  // Of the answer itself: id, created, model, usage and all that is unknown.
  const RawMembers& top() const { return top_; }

  // What is unknown of a choice, and of its message.
  const RawMembers& choice(std::size_t index) const { return choices_[index]; }

  const RawMembers& message(std::size_t index) const { return messages_[index]; }

 private:
  void add_choice(std::string_view raw);

  std::size_t objects_ = 0;
  bool has_messages_ = false;
  bool has_deltas_ = false;
  std::size_t finished_ = 0;
  std::string only_;  // the object, while it is the only one
  RawMembers top_;
  std::vector<RawMembers> choices_;
  std::vector<RawMembers> messages_;
};

// The chunks of one answer on their way to a client that streams.
class OpenAiRawStream {
 public:
  explicit OpenAiRawStream(bool include_usage) : include_usage_(include_usage) {}

  // The frame of a chunk, byte for byte but for a usage that the client did not ask for. Empty when
  // nothing is left of it; nullopt when it is no stream chunk.
  std::optional<std::string> frame(std::string_view raw);

  // True when the client has been told the usage, if it wants it, by the upstream itself.
  bool told_usage() const { return told_usage_; }

  // `{"id":...,"object":...,"created":...,"model":...` of the chunks so far, to be continued; empty
  // before the first.
  const std::string& head() const { return head_; }

 private:
  const bool include_usage_;
  bool told_usage_ = false;
  std::string head_;
};

}  // namespace genesis::server
