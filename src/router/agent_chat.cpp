#include "router/agent_chat.h"

#include <algorithm>

namespace genesis::router {

Task<Result<Usage>> AgentChat::chat(const ChatRequest& request, ChatSink& sink) {
  const auto agent = std::ranges::find(agents_, request.route, &AgentRule::name);
  if (agent == agents_.end()) {
    co_return co_await inner_.chat(request, sink);
  }
  ChatRequest booked = request;
  if (booked.caller.agent.empty()) {
    booked.caller.agent = agent->name;
  }
  if (booked.caller.task.empty()) {
    booked.caller.task = agent->task;
  }
  co_return co_await inner_.chat(booked, sink);
}

}  // namespace genesis::router
