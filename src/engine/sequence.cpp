// What a sequence knows about itself.
#include "engine/sequence.h"

#include "engine/softmax.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace genesis::engine {

namespace {

// Everything that makes one model's keys and values differ from another's.
std::string model_key(const RunnerInfo& runner) {
  return runner.model_name + '\n' + runner.weights_sha256 + '\n' + runner.kv_format;
}

}  // namespace

Sequence::Sequence(GenerateRequest request,
                   const RunnerInfo& runner,
                   std::int32_t most_output,
                   GenerateListener to)
    : prompt_size(request.prompt.size()),
      max_output(most_output),
      want_prompt_logprobs(request.sampling.want_prompt_logprobs),
      top_logprobs(request.sampling.top_logprobs),
      adapter(std::move(request.adapter)),
      request_id(std::move(request.request_id)),
      flow(std::move(request.flow)),
      priority(request.priority),
      namer(model_key(runner), request.cache_salt, adapter.content_hash, adapter.from),
      block_names(namer.name_all(request.prompt, runner.page_tokens)),
      sampler(request.sampling, request.prompt, request.end_ids, request.choice),
      listener(std::move(to)) {
  tokens = std::move(request.prompt);
  if (!request.sampling.ignore_eos) {
    end_ids = std::move(request.end_ids);
  }
  if (request.make_guide) {
    guide = request.make_guide();
  }
  if (want_prompt_logprobs) {
    TokenInfo first;
    first.id = tokens.front();
    first.logprob = std::numeric_limits<float>::quiet_NaN();
    prompt_infos.push_back(std::move(first));
  }
}

bool Sequence::prompt_logprobs_missing() const {
  return want_prompt_logprobs && prompt_infos.size() < prompt_size;
}

std::int32_t Sequence::logit_rows(const StepPart& part) const {
  const std::int32_t end = part.start + part.count;
  std::int32_t rows = part.completes ? 1 + part.drafts : 0;
  if (prompt_logprobs_missing()) {
    const auto first_missing = static_cast<std::int32_t>(prompt_infos.size()) - 1;
    rows = std::max(rows, end - std::max(part.start, first_missing));
  }
  return rows;
}

void Sequence::note_prompt_logprobs(const StepPart& part,
                                    std::span<const float> rows,
                                    std::size_t vocab) {
  const auto end = static_cast<std::size_t>(part.start + part.count);
  for (std::size_t position = end - rows.size() / vocab;
       position < end && prompt_logprobs_missing();
       ++position, rows = rows.subspan(vocab)) {
    if (position + 1 == prompt_infos.size()) {
      prompt_infos.push_back(token_logprobs(rows.first(vocab), tokens[position + 1], top_logprobs));
    }
  }
}

std::span<const std::int32_t> Sequence::step_tokens(const StepPart& part) const {
  const auto count = static_cast<std::size_t>(part.count);
  if (part.drafts > 0) {
    return std::span(drafted).first(count);
  }
  return std::span(tokens).subspan(static_cast<std::size_t>(part.start), count);
}

std::int32_t Sequence::room() const {
  return max_output - static_cast<std::int32_t>(tokens.size() - prompt_size);
}

bool Sequence::follow_guide(std::int32_t token) {
  if (!guide || std::ranges::find(end_ids, token) != end_ids.end()) {
    return true;
  }
  if (!guide->accept(token)) {
    return false;
  }
  if (forced.empty()) {
    const std::vector<std::int32_t> next = guide->forced();
    forced.assign(next.begin(), next.end());
  }
  return true;
}

std::optional<FinishReason> Sequence::finish_after(std::int32_t token) const {
  if (std::ranges::find(end_ids, token) != end_ids.end() || (guide && guide->must_end())) {
    return FinishReason::kStop;
  }
  if (std::cmp_greater_equal(tokens.size() - prompt_size, max_output)) {
    return FinishReason::kLength;
  }
  return std::nullopt;
}

}  // namespace genesis::engine
