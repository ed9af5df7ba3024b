// Puts streamed tool-call deltas together into whole calls, for answers that are not streamed.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::server {

// OpenAI allows 128 tools in a request; an answer that calls more is broken.
inline constexpr std::size_t kMaxToolCalls = 128;

// Deltas follow OpenAI's streaming rule: the first of an index has id, type and name, later ones
// append argument text. A delta without index is a whole call.
class ToolCallMerger {
 public:
  // kUpstream when `deltas_json` is not such an array or holds too many calls.
  Result<void> add(std::string_view deltas_json);

  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
    // Members that Genesis does not know, of the call and of its function, as JSON: some upstreams
    // want back what they sent, such as a signature of the thoughts behind a call.
    std::vector<std::pair<std::string, std::string>> extra;
    std::vector<std::pair<std::string, std::string>> function_extra;
  };

  bool empty() const { return calls_.empty(); }

  const std::vector<Call>& calls() const { return calls_; }

  // The `tool_calls` array of a message.
  std::string to_json() const;

 private:
  std::vector<Call> calls_;
};

}  // namespace genesis::server
