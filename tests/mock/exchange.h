// One conversation with one client of the mock upstream: reads requests, applies scripted faults,
// answers, and keeps the journal.
#pragma once

#include "answer.h"
#include "journal.h"
#include "script.h"
#include "socket.h"

#include <atomic>
#include <string>

namespace genesis::mock {

struct MockOptions {
  std::int64_t words = 60;
  int first_token_ms = 0;
  int between_ms = 0;
  std::string api_key;  // empty = none asked
};

// Shared by all connections.
struct Mock {
  MockOptions options;
  Script script;
  Journal journal;
  std::atomic<int> connections{0};
  std::atomic<int> active{0};
};

// Serves one accepted socket until it closes. Runs on a thread of its own.
class Exchange {
 public:
  Exchange(Mock& mock, int fd) : mock_(mock), connection_(fd) {}

  void run();

 private:
  // Each returns whether the connection may carry another request.
  bool answer(const HttpRequest& request);
  bool answer_ask(const HttpRequest& request);
  bool before_head(const Fault& fault);
  bool answer_whole();
  bool answer_stream();
  bool send_tokens(const std::vector<std::string>& tokens);
  bool end_stream(std::string_view finish);
  // A fault due before token `index`; false = the stream is over.
  bool fault_at(std::int64_t index);

  bool send_json(int status, std::string_view body, std::string_view more_fields = {});
  bool event(std::string_view data);
  bool flush();
  bool ended(std::string_view outcome);

  bool is(std::string_view kind) const { return fault_ && fault_->kind == kind; }

  Mock& mock_;
  Connection connection_;
  std::optional<Fault> fault_;
  Ask ask_;
  JournalLine line_;
  std::string out_;  // framed bytes not sent yet
};

}  // namespace genesis::mock
