// Puts streamed tool-call deltas together into whole calls, for answers that are not streamed.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// Deltas follow OpenAI's streaming rule: the first of an index has id, type and name, later ones
// append argument text. A delta without index is a whole call.
class ToolCallMerger {
 public:
  // kUpstream when `deltas_json` is not such an array or holds too many calls.
  Result<void> add(std::string_view deltas_json);

  bool empty() const { return calls_.empty(); }

  // The `tool_calls` array of a message.
  std::string to_json() const;

 private:
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
  };

  std::vector<Call> calls_;
};

}  // namespace genesis::server
