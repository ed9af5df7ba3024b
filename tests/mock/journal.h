// The mock upstream's own books: one JSON line per attempt, written before the caller can know how
// the attempt ended. It is what the ledger under test is compared with.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

namespace genesis::mock {

struct JournalLine {
  std::string traceparent;
  std::string attempt;  // header x-genesis-attempt, "REQUEST_ID/ATTEMPT"
  std::string dialect;  // "openai", "anthropic", "tgi", "tei" or "embeddings"
  std::string model;
  std::string path;
  bool stream = false;
  std::string last_role;
  std::int64_t received_ms = 0;  // unix time
  int status = 0;                // 0 = no head was sent
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;  // sent so far; what a provider would bill
  std::int64_t cached_tokens = 0;      // part of prompt_tokens, as the next
  std::int64_t cache_write_tokens = 0;
  std::int64_t reasoning_tokens = 0;  // part of completion_tokens
  std::string
      outcome;  // "completed", "refused", "cut", "stalled", "hung", "client_gone", "bad_request"
  std::string fault;  // kind of the scripted fault, empty if none
};

// Safe from any thread. Without a file only the last lines are kept, in memory.
class Journal {
 public:
  static Result<void> open(Journal& journal, const std::string& path, bool sync);
  ~Journal();
  void append(const JournalLine& line);
  // All lines as one JSON array.
  std::string dump() const;

 private:
  mutable std::mutex mutex_;
  int fd_ = -1;
  bool sync_ = false;
  std::uint64_t next_seq_ = 1;
  std::deque<std::string> lines_;
};

}  // namespace genesis::mock
