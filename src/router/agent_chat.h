// AgentChat: books a request on the agent that `model` names, unless the caller told another.
#pragma once

#include "api/chat.h"
#include "router/route_rules.h"

#include <vector>

namespace genesis::router {

// Lives on the io thread; `inner` outlives it.
class AgentChat final : public ChatModel {
 public:
  AgentChat(ChatModel& inner, std::vector<AgentRule> agents)
      : inner_(inner), agents_(std::move(agents)) {}

  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

  // With the agent and task that its name stands for.
  ChatRequest resolved(const ChatRequest& request) const;

 private:
  ChatModel& inner_;
  std::vector<AgentRule> agents_;
};

}  // namespace genesis::router
