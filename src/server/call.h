// An inference request as the server holds it: what the model is asked, and how the answer must be
// written. The second part never leaves the server.
#pragma once

#include "api/chat.h"

namespace genesis::server {

struct WireOptions {
  bool include_usage = false;     // OpenAI stream_options.include_usage
  bool return_token_ids = false;  // vLLM's extension: ids beside text
  bool details = false;           // TGI
  bool return_full_text = false;  // TGI: the prompt in front of generated_text
  bool sampled = false;           // TGI: false = greedy, whose details say "seed": null
};

struct InferenceCall {
  ChatRequest request;
  WireOptions wire;
};

}  // namespace genesis::server
