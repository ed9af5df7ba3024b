// CappedChat: a commercial endpoint behind the share cap. Counts each dispatch right before it
// leaves, so requests that were planned side by side cannot pass the cap together.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "router/share_cap.h"

#include <memory>

namespace genesis::router {

// Lives on the io thread; `inner` and `clock` outlive it.
class CappedChat final : public ChatModel {
 public:
  CappedChat(ChatModel& inner, std::shared_ptr<ShareCap> cap, const Clock& clock)
      : inner_(inner), cap_(std::move(cap)), clock_(clock) {}

  // kUnavailable when the share is used up: the next endpoint of the plan is asked.
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  ChatModel& inner_;
  std::shared_ptr<ShareCap> cap_;
  const Clock& clock_;
};

}  // namespace genesis::router
