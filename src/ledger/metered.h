// MeteredChat: one endpoint's ChatModel with the ledger around it. Reserves an upper bound before
// the call leaves and ends the attempt afterwards, however it goes:
//
//   answered in full                          post, delivered
//   refused, 4xx, 5xx, 429 or reset, no
//     connection, before begin()              void: the upstream accepted nothing
//   sent, and silent until its time was up    unconfirmed, at a paid endpoint: it may have worked,
//                                             and bill, for all we know, up to the upper bound
//   anything after begin(), a cancellation,
//     an unusable answer                      post, not delivered: the estimated input plus what
//     came
//                                             through; never less than what may be billed
//
// Estimates. Input: half the ASCII bytes (English has four to a token), every other byte, 16 a
// message for roles and template; prompt tokens are counted as they are. Output: one token a delta
// or one per four bytes, whichever is more. A post that holds an estimate is noted "estimated";
// usage that the upstream left out, or that cannot be (negative, parts above the whole), is
// estimated as well.
//
// Disputed. The upstream's counts of a full answer are held against our own: of the output exactly,
// where each token was told (give or take two a choice, or 2 %), else from a sixteenth of the bytes
// that came through to one token a byte and 16 a choice, hidden reasoning left out; of the input
// from a 32nd of the text's bytes to twice its upper bound and 256 (not with images, whose tokens
// only the upstream knows). A count outside is booked as the larger of the upstream's and the
// nearest of ours; the row is marked, keeps what the upstream said, and notes our range.
//
// Without a ledger nothing is paid for: managed and commercial endpoints answer kUnavailable. An
// endpoint of our own goes on, unbooked, with an error in the log and a counter.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/clock.h"
#include "base/metrics.h"

#include <cstdint>
#include <optional>
#include <string>

namespace genesis::ledger {

struct MeteredOptions {
  std::string endpoint;
  Tier tier = Tier::kSelfHosted;
  std::string price_model;         // the name the price table knows
  std::int64_t output_cap = 4096;  // upper bound where the request sets no max_tokens
};

// Lives on the io thread; everything referred to outlives it.
class MeteredChat final : public ChatModel {
 public:
  MeteredChat(Ledger& ledger,
              const Clock& clock,
              MetricsRegistry& metrics,
              ChatModel& inner,
              MeteredOptions options);

  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  Task<Result<Usage>> dispatch(const ChatRequest& request,
                               ChatSink& sink,
                               const AttemptId& id,
                               const Usage& bound);
  Task<void> end_attempt(const ChatRequest& request,
                         const AttemptId& id,
                         const AttemptOutcome& outcome);
  Task<void> void_attempt(const AttemptId& id, std::string reason);
  void note_dispute(const AttemptId& id, const AttemptOutcome& outcome);
  void note_unbooked(const AttemptId& id, const Error& error);

  Ledger& ledger_;
  const Clock& clock_;
  ChatModel& inner_;
  MeteredOptions options_;
  Metric& cost_;
  Metric& baseline_;
  Metric& unbooked_;
  Metric& estimated_;
  Metric& disputed_;
  std::optional<SteadyTime> dispute_said_;  // when the log last told of one
  std::int64_t disputes_unsaid_ = 0;
};

// The upper bound that is reserved for a request.
Usage upper_bound(const ChatRequest& request, std::int64_t output_cap);

}  // namespace genesis::ledger
