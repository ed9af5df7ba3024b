#include "server/parse_sampling.h"

#include "base/json.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <charconv>

namespace genesis::server {

namespace json = boost::json;

namespace {

// OpenAI allows 300 entries; more than 1024 is nobody's honest request.
constexpr std::size_t kMaxLogitBias = 1024;

Result<int> parse_token_key(std::string_view key) {
  int token = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
  if (error != std::errc() || end != key.data() + key.size() || token < 0) {
    return fail_param("logit_bias", "the keys of 'logit_bias' must be token ids, such as \"1734\"");
  }
  return token;
}

Result<std::map<int, double>> parse_logit_bias(const json::object& body) {
  std::map<int, double> bias;
  if (!is_given(body, "logit_bias")) {
    return bias;
  }
  const json::object* entries = body.at("logit_bias").if_object();
  if (entries == nullptr) {
    return fail_param("logit_bias", "'logit_bias' must be an object of token id to number");
  }
  if (entries->size() > kMaxLogitBias) {
    return fail_param("logit_bias",
                      fmt::format("'logit_bias' may hold at most {} entries", kMaxLogitBias));
  }
  for (const auto& entry : *entries) {
    GENESIS_TRY(const int token, parse_token_key(entry.key()));
    GENESIS_TRY(const auto value, get_number(*entries, entry.key(), "logit_bias."));
    bias[token] = value.value_or(0.0);
  }
  return bias;
}

// `max_completion_tokens` is the newer name and wins.
Result<std::optional<int>> parse_max_tokens(const json::object& body) {
  const std::string_view key =
      is_given(body, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  GENESIS_TRY(const auto value, get_int(body, key));
  if (value && *value < 1) {
    return fail_param(std::string(key),
                      fmt::format("'{}' must be at least 1, not {}", key, *value));
  }
  return value;
}

Result<void> refuse_unsupported(const json::object& body) {
  const json::value* ids = body.if_contains("stop_token_ids");
  const bool empty =
      ids == nullptr || ids->is_null() || (ids->is_array() && ids->get_array().empty());
  if (!empty) {
    return fail_param("stop_token_ids",
                      "'stop_token_ids' is not supported; use 'stop' with the text instead",
                      ErrorCode::kUnsupported);
  }
  return {};
}

Result<void> read_numbers(const json::object& body, Sampling& sampling) {
  const auto number = [&](std::string_view key, double& target) -> Result<void> {
    GENESIS_TRY(const auto value, get_number(body, key));
    target = value.value_or(target);
    return {};
  };
  GENESIS_TRY_VOID(number("temperature", sampling.temperature));
  GENESIS_TRY_VOID(number("top_p", sampling.top_p));
  GENESIS_TRY_VOID(number("typical_p", sampling.typical_p));
  GENESIS_TRY_VOID(number("min_p", sampling.min_p));
  GENESIS_TRY_VOID(number("repetition_penalty", sampling.repetition_penalty));
  GENESIS_TRY_VOID(number("presence_penalty", sampling.presence_penalty));
  GENESIS_TRY_VOID(number("frequency_penalty", sampling.frequency_penalty));
  return {};
}

}  // namespace

Result<Sampling> parse_openai_sampling(const json::object& body) {
  Sampling sampling;
  GENESIS_TRY_VOID(refuse_unsupported(body));
  GENESIS_TRY_VOID(read_numbers(body, sampling));
  GENESIS_TRY(const auto top_k, get_int(body, "top_k"));
  // vLLM and SGLang write "off" as -1.
  sampling.top_k = top_k.value_or(0) == -1 ? 0 : top_k.value_or(0);
  GENESIS_TRY(sampling.seed, get_seed(body, "seed"));
  GENESIS_TRY(sampling.max_tokens, parse_max_tokens(body));
  GENESIS_TRY(const auto min_tokens, get_int(body, "min_tokens"));
  sampling.min_tokens = min_tokens.value_or(0);
  GENESIS_TRY(sampling.stop, get_strings(body, "stop"));
  GENESIS_TRY(const auto include_stop, get_bool(body, "include_stop_str_in_output"));
  sampling.include_stop_in_output = include_stop.value_or(false);
  GENESIS_TRY(const auto ignore_eos, get_bool(body, "ignore_eos"));
  sampling.ignore_eos = ignore_eos.value_or(false);
  GENESIS_TRY(sampling.logit_bias, parse_logit_bias(body));
  return sampling;
}

}  // namespace genesis::server
