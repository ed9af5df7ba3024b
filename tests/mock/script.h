// Faults a test asks of the mock upstream: a queue per model, taken one per request.
#pragma once

#include "base/random.h"
#include "base/result.h"

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::mock {

// What goes wrong with one answer. `kind` is one of the names in script.cpp; the numbers mean what
// the kind says: `tokens` = after so many tokens, `ms` = milliseconds.
struct Fault {
  std::string kind;
  std::string model;  // empty = any
  int times = 1;      // -1 = always
  int share = 0;      // hits so many of 10,000 requests, always, instead of the next `times`
  int status = 500;
  int tokens = 0;
  int ms = 120'000;
  std::optional<int> retry_after_s;
  std::string code;     // of an error object
  std::string message;  // of an error object
  // Of kind "answer", which is no fault but another answer than the usual.
  int calls = 0;        // tool calls behind the text, of the first tool that was offered
  int thinking = 0;     // tokens of reasoning before the text, billed with the output
  int cached = 0;       // input tokens told as read from a cache
  int cache_write = 0;  // input tokens told as written to a cache
  std::string finish;   // in OpenAI's words, instead of "stop"
};

// Safe from any thread.
class Script {
 public:
  // `json`: {"faults": [{"fault": "status", "status": 429, "times": 2, ...}, ...]}; appended to
  // what is waiting; "seed" restarts the draws of `share`. An unknown fault or field is an error,
  // so that a test cannot misspell one.
  Result<void> load(std::string_view json);
  void clear();
  // The next fault for `model`; `assistant_last` tells whether the request ends in an assistant
  // turn, which is the only kind that "refuse_prefill" hits.
  std::optional<Fault> take(std::string_view model, bool assistant_last);

 private:
  std::mutex mutex_;
  std::deque<Fault> faults_;
  Random random_{1};
};

}  // namespace genesis::mock
