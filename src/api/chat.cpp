#include "api/chat.h"

#include <fmt/format.h>

namespace genesis {

namespace {

template <typename T>
Result<void> in_range(std::string_view field, T value, T low, T high) {
  if (value < low || value > high) {
    return fail_param(
        std::string(field),
        fmt::format("'{}' must be between {} and {}, not {}", field, low, high, value));
  }
  return {};
}

template <typename T>
Result<void> above_up_to(std::string_view field, T value, T low, T high) {
  if (value <= low || value > high) {
    return fail_param(
        std::string(field),
        fmt::format("'{}' must be above {} and at most {}, not {}", field, low, high, value));
  }
  return {};
}

}  // namespace

Result<void> validate_sampling(const Sampling& s) {
  GENESIS_TRY_VOID(in_range("temperature", s.temperature, 0.0, 2.0));
  GENESIS_TRY_VOID(above_up_to("top_p", s.top_p, 0.0, 1.0));
  GENESIS_TRY_VOID(in_range("top_k", s.top_k, 0, 1'000'000));
  GENESIS_TRY_VOID(above_up_to("typical_p", s.typical_p, 0.0, 1.0));
  GENESIS_TRY_VOID(in_range("min_p", s.min_p, 0.0, 1.0));
  GENESIS_TRY_VOID(above_up_to("repetition_penalty", s.repetition_penalty, 0.0, 2.0));
  GENESIS_TRY_VOID(in_range("presence_penalty", s.presence_penalty, -2.0, 2.0));
  GENESIS_TRY_VOID(in_range("frequency_penalty", s.frequency_penalty, -2.0, 2.0));
  GENESIS_TRY_VOID(in_range("top_logprobs", s.top_logprobs, 0, 20));
  if (s.max_tokens) {
    GENESIS_TRY_VOID(in_range("max_tokens", *s.max_tokens, 1, 1'000'000'000));
  }
  GENESIS_TRY_VOID(in_range("min_tokens", s.min_tokens, 0, 1'000'000'000));
  if (s.stop.size() > kMaxStopStrings) {
    return fail_param(
        "stop",
        fmt::format("'stop' may hold at most {} strings, not {}", kMaxStopStrings, s.stop.size()));
  }
  for (const std::string& stop : s.stop) {
    if (stop.empty() || stop.size() > 4096) {
      return fail_param("stop", "each string of 'stop' must have 1 to 4096 bytes");
    }
  }
  for (const auto& [token, bias] : s.logit_bias) {
    GENESIS_TRY_VOID(in_range(fmt::format("logit_bias.{}", token), bias, -100.0, 100.0));
  }
  return {};
}

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::kSelfHosted:
      return "self_hosted";
    case Tier::kManaged:
      return "managed";
    case Tier::kCommercial:
      return "commercial";
  }
  return "self_hosted";
}

std::optional<Tier> tier_from_name(std::string_view name) {
  for (const Tier tier : {Tier::kSelfHosted, Tier::kManaged, Tier::kCommercial}) {
    if (name == tier_name(tier)) {
      return tier;
    }
  }
  return std::nullopt;
}

std::string_view priority_name(Priority priority) {
  switch (priority) {
    case Priority::kHigh:
      return "high";
    case Priority::kNormal:
      return "normal";
    case Priority::kLow:
      return "low";
  }
  return "normal";
}

std::optional<Priority> priority_from_name(std::string_view name) {
  for (const Priority priority : {Priority::kHigh, Priority::kNormal, Priority::kLow}) {
    if (name == priority_name(priority)) {
      return priority;
    }
  }
  return std::nullopt;
}

}  // namespace genesis
