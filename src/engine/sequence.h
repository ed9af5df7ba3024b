// Sequence: one choice in the making, with its tokens, its sampler and who listens.
#pragma once

#include "engine/block_hash.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/speculation.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace genesis::engine {

// Where guesses come from. Forced ones are no guesses: they are computed as such for their
// logprobs.
enum class DraftSource : std::uint8_t { kLookup, kModel, kForced };

// Made on the caller's thread, then lives on the step thread.
struct Sequence {
  SequenceId id = 0;                 // given at the door
  std::vector<std::int32_t> tokens;  // prompt and output
  std::size_t prompt_size = 0;
  std::int32_t max_output = 0;
  std::vector<std::int32_t> end_ids;  // empty with ignore_eos
  bool want_prompt_logprobs = false;
  int top_logprobs = 0;
  std::vector<TokenInfo> prompt_infos;  // of the first tokens of the prompt, as far as known
  AdapterUse adapter;
  std::string request_id;
  std::string flow;
  Priority priority;
  BlockNamer namer;  // until the scheduler takes it, as the next
  std::vector<BlockHash>
      block_names;                // of the prompt's whole pages, until the scheduler takes them
  bool answered = false;          // a token was generated
  Speculation speculation;        // of looking up
  Speculation model_speculation;  // of the draft model
  DraftSource draft_source = DraftSource::kLookup;
  std::vector<std::int32_t> drafted;  // the last token and the guesses behind it; empty: no guesses
  std::unique_ptr<Guide> guide;       // null: anything may come
  std::deque<std::int32_t> forced;    // tokens that come next, whatever the logits say
  Sampler sampler;
  GenerateListener listener;

  Sequence(GenerateRequest request,
           const RunnerInfo& runner,
           std::int32_t most_output,
           GenerateListener to);

  bool prompt_logprobs_missing() const;
  // Logits are wanted for the last this many tokens of `part`.
  std::int32_t logit_rows(const StepPart& part) const;
  // `rows` hold the logits of the last tokens of `part`; each predicts the token after it.
  void note_prompt_logprobs(const StepPart& part, std::span<const float> rows, std::size_t vocab);
  // The tokens that `part` computes.
  std::span<const std::int32_t> step_tokens(const StepPart& part) const;
  // How many more tokens may be generated.
  std::int32_t room() const;
  // Tells the guide of `token`, already the last of `tokens`, and notes what it forces next. False:
  // the guide does not know it.
  bool follow_guide(std::int32_t token);
  // Whether `token`, already the last of `tokens`, ends the sequence.
  std::optional<FinishReason> finish_after(std::int32_t token) const;
};

}  // namespace genesis::engine
