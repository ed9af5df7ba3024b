// One conversation with one client of the mock upstream: reads requests, applies scripted faults,
// answers, and keeps the journal.
#pragma once

#include "answer.h"
#include "journal.h"
#include "script.h"
#include "socket.h"

#include <optional>
#include <string>

namespace genesis::mock {

struct MockOptions {
  std::int64_t words = 60;
  int first_token_ms = 0;
  int between_ms = 0;
  std::string api_key;  // empty = none asked
};

// Shared by all connections; all of them live on one thread.
struct Mock {
  MockOptions options;
  Script script;
  Journal journal;
  int connections = 0;
  int active = 0;
};

// Serves one accepted socket until it closes.
class Exchange {
 public:
  Exchange(Mock& mock, boost::asio::ip::tcp::socket socket)
      : mock_(mock), connection_(std::move(socket)) {}

  Task<void> run();

 private:
  // Each returns whether the connection may carry another request.
  Task<bool> answer(const HttpRequest& request);
  Task<bool> answer_ask(const HttpRequest& request);
  Task<bool> refuse(int status, std::string_view message, std::string_view code);
  Task<bool> before_head(const Fault& fault);
  Task<bool> answer_whole();
  Task<bool> break_whole(const std::string& body);
  Task<bool> answer_stream();
  Task<bool> send_pieces(StreamWriter& writer);
  Task<bool> end_stream(StreamWriter& writer);
  // A fault due before token `index`; false = the stream is over.
  Task<bool> fault_at(std::int64_t index, StreamWriter& writer);
  Task<bool> error_in_stream();

  Task<bool> send_json(int status, std::string_view body, std::string_view more_fields = {});
  Task<bool> events(const std::vector<Event>& events);
  Task<bool> flush();
  bool ended(std::string_view outcome);
  bool authorized(const HttpRequest& request) const;
  std::optional<std::string> service_body(const HttpRequest& request);
  void plan_answer();

  bool is(std::string_view kind) const { return fault_ && fault_->kind == kind; }

  Mock& mock_;
  Connection connection_;
  std::optional<Fault> fault_;
  Ask ask_;
  Answer plan_;  // what is answered, as far as no fault cuts it
  JournalLine line_;
  std::string out_;  // framed bytes not sent yet
};

}  // namespace genesis::mock
