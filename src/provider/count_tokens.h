// Asks a peer that speaks Anthropic's POST /v1/messages/count_tokens (Anthropic itself, our own
// engine) how many tokens a request has. It costs nothing there, so it is not booked.
#pragma once

#include "api/chat.h"
#include "base/cancel.h"
#include "net/client.h"
#include "provider/upstream.h"

#include <cstdint>

namespace genesis::provider {

// For a request that came as such a call: its own JSON goes on, with the upstream's model. Errors:
// those of the connection, kUpstream for any answer that is no count.
Task<Result<std::int64_t>> count_tokens(net::Client& client,
                                        const UpstreamOptions& options,
                                        const ChatRequest& request,
                                        CancelToken cancel);

}  // namespace genesis::provider
