// AnswerGate: the one way from the attempts of a request to its client. It owns the commit point
// and what is needed to go on after it.
//
// A streamed answer is committed by its first byte. One that is not streamed, or whose route holds
// streams back, is kept until it is whole, so that an attempt which breaks off costs the client
// nothing. What was delivered of a stream is remembered, so that another attempt can replay it.
#pragma once

#include "api/chat.h"
#include "endpoint/transcript.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace genesis::endpoint {

struct GateOptions {
  bool stream = false;    // what the client asked for
  bool hold = false;      // keep a stream back until it is whole
  bool remember = false;  // keep what was delivered, for a replay
  int choices = 1;
  std::size_t max_held = 64UL * 1024 * 1024;  // more of one answer is not kept back
  std::size_t max_remembered = 4UL * 1024 * 1024;
};

// Lives as long as the request. One attempt writes at a time.
class AnswerGate {
 public:
  AnswerGate(ChatSink& client, GateOptions options);

  // Before another attempt: forgets what a failed one had said, or, after the commit point, starts
  // to compare.
  void start_over();

  Task<Result<void>> begin(const ServedBy& served);
  // kCancelled when a replay differs from what was delivered.
  Task<Result<void>> write(const ChatDelta& delta);
  // Hands over an answer that was kept back, once it is whole.
  Task<Result<void>> release();

  bool committed() const { return committed_; }

  // True when what was delivered can be compared with another attempt.
  bool can_replay() const { return committed_ && transcript_.replayable(); }

  // False while a replay has not said all that was delivered.
  bool replayed() const { return !replay_ || replay_->caught_up(); }

  // True when the attempt since start_over() said something else than was delivered.
  bool differed() const { return differed_; }

 private:
  Task<Result<void>> pass(const ChatDelta& delta);

  ChatSink& client_;
  GateOptions options_;
  bool holding_;
  bool committed_ = false;
  bool differed_ = false;
  std::optional<ServedBy> served_;
  std::vector<ChatDelta> held_;
  std::size_t held_bytes_ = 0;
  Transcript transcript_;
  std::optional<Replay> replay_;
};

}  // namespace genesis::endpoint
