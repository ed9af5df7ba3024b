// What an attempt would probably cost, in money and in time to its first token.
#pragma once

#include "api/routing.h"

#include <cstdint>
#include <string_view>

namespace genesis::router {

// `cached` of the input tokens are read from the endpoint's cache. Rounded up to whole nano-USD;
// -1 = no price is known. An endpoint paid by the hour costs nothing more for one more request.
NanoUsd predict_cost(const RoutePrice& price, const RouteFeatures& features, std::int64_t cached);

// Includes the start of an endpoint that is not warm, as far as it is known.
double predict_first_token_ms(const EndpointSnapshot& endpoint);

// A number in [0, 1) that depends on `draw` and `salt` only: one draw serves several choices that
// must not depend on each other.
double draw_again(double draw, std::string_view salt);

}  // namespace genesis::router
