// What a policy may know of a request, computed once: sizes, estimated tokens, the hash of its
// beginning.
#pragma once

#include "api/chat.h"
#include "api/routing.h"
#include "base/clock.h"

namespace genesis::endpoint {

// `draw` is uniform in [0, 1).
RouteFeatures make_features(const ChatRequest& request, double draw, SteadyTime now);

}  // namespace genesis::endpoint
