#include "router/capped_chat.h"

#include <fmt/format.h>

namespace genesis::router {

Task<Result<Usage>> CappedChat::chat(const ChatRequest& request, ChatSink& sink) {
  const SteadyTime now = clock_.steady();
  if (!cap_->take(now)) {
    const ShareCapState state = cap_->state(now);
    Error error;
    error.code = ErrorCode::kUnavailable;
    error.type = "commercial_share_cap";
    error.message = fmt::format("the commercial tier's share is used up ({})",
                                state.to_string(cap_->options()));
    error.hint = "try later, raise commercial.max_share, or add an endpoint of another tier";
    error.retry_after = state.next_room;
    co_return std::unexpected(std::move(error));
  }
  co_return co_await inner_.chat(request, sink);
}

}  // namespace genesis::router
