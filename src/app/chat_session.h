// ChatSession: asks a model from the command line. Uses a gateway that is already running, else
// builds the same graph in this process without a listener, so that routing and ledger stay the
// same.
#pragma once

#include "api/chat.h"
#include "app/config.h"
#include "app/home.h"
#include "app/progress.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace genesis::app {

struct Answer {
  std::string text;
  Usage usage;
  ServedBy served;
};

using OnText = std::function<void(std::string_view)>;

// Single-threaded: ask() runs the event loop until the answer is complete.
class ChatSession {
 public:
  // Pulls missing models of local endpoints, telling `progress`.
  static Result<std::unique_ptr<ChatSession>> open(const Config& config,
                                                   const Home& home,
                                                   const OnProgress& progress);
  virtual ~ChatSession() = default;

  // `on_text` gets pieces as they come. SIGINT ends the answer with kCancelled.
  virtual Result<Answer> ask(ChatRequest request, const OnText& on_text) = 0;
};

}  // namespace genesis::app
