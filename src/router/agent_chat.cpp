#include "router/agent_chat.h"

#include <algorithm>

namespace genesis::router {

Task<Result<Usage>> AgentChat::chat(const ChatRequest& request, ChatSink& sink) {
  if (std::ranges::find(agents_, request.route, &AgentRule::name) == agents_.end()) {
    co_return co_await inner_.chat(request, sink);
  }
  const ChatRequest booked = resolved(request);
  co_return co_await inner_.chat(booked, sink);
}

ChatRequest AgentChat::resolved(const ChatRequest& request) const {
  ChatRequest booked = request;
  const auto agent = std::ranges::find(agents_, request.route, &AgentRule::name);
  if (agent == agents_.end()) {
    return booked;
  }
  if (booked.caller.agent.empty()) {
    booked.caller.agent = agent->name;
  }
  if (booked.caller.task.empty()) {
    booked.caller.task = agent->task;
  }
  return booked;
}

}  // namespace genesis::router
