// An inference request as the server holds it: what the model is asked, and how the answer must be
// written. The second part never leaves the server.
#pragma once

#include "api/chat.h"

#include <memory>
#include <string>

namespace genesis::server {

struct WireOptions {
  bool include_usage = false;     // OpenAI stream_options.include_usage
  bool return_token_ids = false;  // vLLM's extension: ids beside text
  bool details = false;           // TGI
  bool return_full_text = false;  // TGI: the prompt in front of generated_text
  bool sampled = false;           // TGI: false = greedy, whose details say "seed": null
  bool base64 = false;            // embeddings: vectors as text instead of numbers
  bool return_text = false;       // rerank: each text beside its score
  bool single = false;            // TEI /predict: one input that was not a list
  std::string echo;               // responses: members that repeat the request, as JSON
  int top_n = 0;                  // rerank: the best so many; 0 = all
};

struct InferenceCall {
  // The input while its request is still being read and nobody else holds it.
  ChatInput& open_input() { return *std::const_pointer_cast<ChatInput>(request.input); }

  ChatRequest request;
  WireOptions wire;
  // What the body says about the conversation it belongs to (prompt_cache_key, user,
  // metadata.user_id), for callers that send no session header; may be empty or anything.
  std::string session_hint;
};

}  // namespace genesis::server
