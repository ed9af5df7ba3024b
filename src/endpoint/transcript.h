// Transcript: what a client has got of an answer so far. Replay: the same request asked again,
// whose output is compared with the transcript, so that only what is new goes on.
//
// Compared byte for byte, each choice for itself: reasoning, text, and of tool calls their names
// and arguments, in the order in which they came. Ids of tool calls differ from one attempt to the
// next and are not compared; the client keeps the ones it has.
#pragma once

#include "api/chat.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::endpoint {

// What a byte belongs to: 0 = reasoning, 1 = text, then two for each tool call, its name and its
// arguments.
using Channel = std::int64_t;

class Transcript {
 public:
  // Above `max_bytes` nothing more is kept and the answer cannot be replayed.
  Transcript(int choices, std::size_t max_bytes)
      : choices_(static_cast<std::size_t>(choices)), max_bytes_(max_bytes) {}

  void add(const ChatDelta& delta);
  // Keeps no more and forgets what was kept.
  void give_up();

  bool replayable() const { return replayable_; }

 private:
  friend class Replay;

  struct Segment {
    Channel channel = 0;
    std::string bytes;
  };

  struct Choice {
    std::vector<Segment> segments;
    std::set<std::int64_t> calls;  // tool calls whose head was delivered
    std::size_t tokens = 0;
    std::optional<FinishReason> finish;
  };

  std::vector<Choice> choices_;
  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  bool replayable_ = true;
};

// One replay. `transcript` outlives it and grows by what is new.
class Replay {
 public:
  explicit Replay(Transcript& transcript);

  // What of `delta` the client does not have yet, if anything; kCancelled when the replay says
  // something else than was delivered.
  Result<std::optional<ChatDelta>> take(const ChatDelta& delta);

  // True once everything that was delivered has been said again.
  bool caught_up() const;

 private:
  struct Place {
    std::size_t segment = 0;
    std::size_t offset = 0;
    std::size_t tokens = 0;
  };

  // How many bytes of `piece` were delivered already; nullopt when they differ.
  std::optional<std::size_t> match(std::size_t at, Channel channel, std::string_view piece);
  bool caught_up(std::size_t at) const;

  Transcript& transcript_;
  std::vector<Place> places_;
};

}  // namespace genesis::endpoint
