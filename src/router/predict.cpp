#include "router/predict.h"

#include "base/random.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace genesis::router {

namespace {

constexpr std::int64_t kTokensPerPrice = 1'000'000;

__extension__ using Wide = __int128;

Wide line(std::int64_t tokens, NanoUsd price) {
  return (Wide{std::max<std::int64_t>(tokens, 0)} * price + kTokensPerPrice - 1) / kTokensPerPrice;
}

}  // namespace

NanoUsd predict_cost(const RoutePrice& price, const RouteFeatures& features, std::int64_t cached) {
  if (!price.input || !price.output) {
    return price.per_hour ? 0 : -1;
  }
  const std::int64_t warm = std::clamp<std::int64_t>(cached, 0, features.input_tokens);
  const Wide sum = line(features.input_tokens - warm, *price.input) +
                   line(warm, price.cached_input.value_or(*price.input)) +
                   line(features.output_tokens, *price.output);
  return static_cast<NanoUsd>(std::min<Wide>(sum, std::numeric_limits<NanoUsd>::max()));
}

double predict_first_token_ms(const EndpointSnapshot& endpoint) {
  return endpoint.first_token_ms +
         (endpoint.phase == EndpointPhase::kWarm ? 0 : endpoint.warm_up_ms);
}

double draw_again(double draw, std::string_view salt) {
  std::uint64_t seed = std::bit_cast<std::uint64_t>(draw);
  for (const char c : salt) {
    seed = (seed ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ULL;  // FNV-1a's step
  }
  return Random(seed).uniform();
}

}  // namespace genesis::router
