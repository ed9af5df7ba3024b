// LocalEndpoint: a supervised engine as a ChatModel. Wakes a stopped engine, waits for a starting
// one only when the request has nowhere else to go, then speaks the same HTTP to it as to any other
// endpoint.
#pragma once

#include "api/chat.h"
#include "app/engine_supervisor.h"

namespace genesis::app {

// Lives on the io thread. `supervisor` and `provider` outlive it.
class LocalEndpoint final : public ChatModel {
 public:
  LocalEndpoint(EngineSupervisor& supervisor, ChatModel& provider)
      : supervisor_(supervisor), provider_(provider) {}

  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  EngineSupervisor& supervisor_;
  ChatModel& provider_;
};

}  // namespace genesis::app
