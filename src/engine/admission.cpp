// The checks at the door.
#include "engine/admission.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::engine {

namespace {

Result<void> check_ids(std::span<const std::int32_t> ids,
                       std::string_view field,
                       std::int32_t vocab) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      return fail_param(
          std::string(field),
          fmt::format("{} holds token id {} at place {}; this model knows ids 0 to {}",
                      field,
                      ids[i],
                      i,
                      vocab - 1));
    }
  }
  return {};
}

Result<void> check_fields(const RunnerInfo& info, const GenerateRequest& request) {
  if (request.prompt.empty()) {
    return fail_param("prompt", "the prompt is empty; at least one token is needed");
  }
  GENESIS_TRY_VOID(validate_sampling(request.sampling));
  GENESIS_TRY_VOID(check_ids(request.prompt, "prompt", info.vocab_size));
  GENESIS_TRY_VOID(check_ids(request.end_ids, "end_ids", info.vocab_size));
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    GENESIS_TRY_VOID(check_ids(std::span(&id, 1), "logit_bias", info.vocab_size));
  }
  return {};
}

Error too_long(const RunnerInfo& info, std::int64_t prompt, std::int64_t output) {
  const std::int64_t limit = longest_sequence(info);
  const bool pool_is_short = prompt + output <= info.max_context;
  Error error;
  error.code = pool_is_short ? ErrorCode::kResourceExhausted : ErrorCode::kContextLength;
  error.param = "prompt";
  const std::string reason =
      pool_is_short ? fmt::format("the KV memory of this engine holds {} tokens", limit)
                    : fmt::format("this model's maximum context length is {} tokens", limit);
  error.message = fmt::format("{}, but {} were requested ({} in the prompt and {} to generate)",
                              reason,
                              prompt + output,
                              prompt,
                              output);
  error.hint = pool_is_short ? "give the engine more KV memory, or shorten the prompt or max_tokens"
                             : "shorten the prompt or max_tokens";
  return error;
}

}  // namespace

std::int32_t longest_sequence(const RunnerInfo& info) {
  const std::int64_t pool = std::int64_t{info.num_pages} * info.page_tokens;
  return static_cast<std::int32_t>(std::min<std::int64_t>(info.max_context, pool));
}

Result<std::int32_t> admit(const RunnerInfo& info, const GenerateRequest& request) {
  GENESIS_TRY_VOID(check_fields(info, request));
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t limit = longest_sequence(info);
  const std::int64_t output = request.sampling.max_tokens
                                  ? *request.sampling.max_tokens
                                  : std::max<std::int64_t>(limit - prompt, 1);
  if (prompt + output > limit) {
    return std::unexpected(too_long(info, prompt, output));
  }
  return static_cast<std::int32_t>(output);
}

}  // namespace genesis::engine
