// List prices of 2025-11-04, standard tier, global endpoints, prompts below any long-context step.
#include "ledger/default_prices.h"

namespace genesis::ledger {

namespace {

constexpr std::string_view kPrices = R"json([
{"model":"gpt-4o","valid_from":"2025-11-04","per":"1M tokens",
 "input":"2.50","cached_input":"1.25","output":"10.00",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-4o-mini","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.15","cached_input":"0.075","output":"0.60",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-4.1","valid_from":"2025-11-04","per":"1M tokens",
 "input":"2.00","cached_input":"0.50","output":"8.00",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-4.1-mini","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.40","cached_input":"0.10","output":"1.60",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-4.1-nano","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.10","cached_input":"0.025","output":"0.40",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"o3","valid_from":"2025-11-04","per":"1M tokens",
 "input":"2.00","cached_input":"0.50","output":"8.00",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"o4-mini","valid_from":"2025-11-04","per":"1M tokens",
 "input":"1.10","cached_input":"0.275","output":"4.40",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-5","valid_from":"2025-11-04","per":"1M tokens",
 "input":"1.25","cached_input":"0.125","output":"10.00",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"gpt-5-mini","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.25","cached_input":"0.025","output":"2.00",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"text-embedding-3-large","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.13","output":"0",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"text-embedding-3-small","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.02","output":"0",
 "source":"openai.com/api/pricing, 2025-11-04"},
{"model":"claude-sonnet-4.5","valid_from":"2025-11-04","per":"1M tokens",
 "input":"3.00","cached_input":"0.30","cache_write":"3.75","output":"15.00",
 "source":"anthropic.com/pricing, 2025-11-04; prompts up to 200K tokens, 5-minute cache"},
{"model":"claude-haiku-4.5","valid_from":"2025-11-04","per":"1M tokens",
 "input":"1.00","cached_input":"0.10","cache_write":"1.25","output":"5.00",
 "source":"anthropic.com/pricing, 2025-11-04; 5-minute cache"},
{"model":"claude-opus-4.1","valid_from":"2025-11-04","per":"1M tokens",
 "input":"15.00","cached_input":"1.50","cache_write":"18.75","output":"75.00",
 "source":"anthropic.com/pricing, 2025-11-04; 5-minute cache"},
{"model":"gemini-2.5-pro","valid_from":"2025-11-04","per":"1M tokens",
 "input":"1.25","cached_input":"0.125","output":"10.00",
 "source":"ai.google.dev/pricing, 2025-11-04; prompts up to 200K tokens, without cache storage"},
{"model":"gemini-2.5-flash","valid_from":"2025-11-04","per":"1M tokens",
 "input":"0.30","cached_input":"0.03","output":"2.50",
 "source":"ai.google.dev/pricing, 2025-11-04; text input, cache storage not included"},
{"model":"gpt-4o-2024-08-06","alias_of":"gpt-4o"},
{"model":"gpt-4o-2024-11-20","alias_of":"gpt-4o"},
{"model":"gpt-4o-mini-2024-07-18","alias_of":"gpt-4o-mini"},
{"model":"gpt-4.1-2025-04-14","alias_of":"gpt-4.1"},
{"model":"gpt-4.1-mini-2025-04-14","alias_of":"gpt-4.1-mini"},
{"model":"gpt-4.1-nano-2025-04-14","alias_of":"gpt-4.1-nano"},
{"model":"o3-2025-04-16","alias_of":"o3"},
{"model":"o4-mini-2025-04-16","alias_of":"o4-mini"},
{"model":"gpt-5-2025-08-07","alias_of":"gpt-5"},
{"model":"gpt-5-mini-2025-08-07","alias_of":"gpt-5-mini"},
{"model":"claude-sonnet-4-5","alias_of":"claude-sonnet-4.5"},
{"model":"claude-sonnet-4-5-20250929","alias_of":"claude-sonnet-4.5"},
{"model":"claude-haiku-4-5","alias_of":"claude-haiku-4.5"},
{"model":"claude-haiku-4-5-20251001","alias_of":"claude-haiku-4.5"},
{"model":"claude-opus-4-1","alias_of":"claude-opus-4.1"},
{"model":"claude-opus-4-1-20250805","alias_of":"claude-opus-4.1"},
{"machine":"managed-cpu","per_hour":"0.06",
 "source":"managed endpoint, CPU instance, 2025-11-04"},
{"machine":"managed-t4","per_hour":"0.60",
 "source":"managed endpoint, NVIDIA T4, 2025-11-04"},
{"machine":"managed-a10g","per_hour":"1.30",
 "source":"managed endpoint, NVIDIA A10G, 2025-11-04"}
])json";

}  // namespace

std::string_view default_prices_json() {
  return kPrices;
}

}  // namespace genesis::ledger
