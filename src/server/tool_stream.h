// Streamed tool calls put into the order that block dialects need: one call at a time, each begun,
// continued and ended before the next begins, however the upstream mixes their pieces.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

struct ToolPiece {
  enum class Kind : std::uint8_t { kBegin, kArguments, kEnd };
  Kind kind = Kind::kArguments;
  std::size_t call = 0;   // its place in the answer
  std::string id;         // with kBegin; empty where the upstream gave none
  std::string name;       // with kBegin
  std::string arguments;  // with kArguments; with kEnd all of them
};

// A call is known to be over when its arguments are a whole JSON object or the answer ends; until
// then the pieces of later calls wait. Not thread-safe.
class ToolSequencer {
 public:
  // OpenAI's `delta.tool_calls`. kUpstream when it is no such list, or calls too much.
  Result<std::vector<ToolPiece>> add(std::string_view deltas_json);
  // Ends what is open, waiting calls included: text follows, or nothing.
  std::vector<ToolPiece> finish();

  bool any() const { return !calls_.empty(); }

 private:
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
    std::size_t sent = 0;  // bytes of `arguments` that have gone out
    bool begun = false;
    // How far into its JSON the text is.
    std::size_t depth = 0;
    bool in_string = false;
    bool escaped = false;
    bool whole = false;
  };

  static void scan(Call& call, std::string_view piece);
  void advance(std::vector<ToolPiece>& pieces, bool last);

  std::vector<Call> calls_;
  std::size_t at_ = 0;  // the call whose turn it is
};

}  // namespace genesis::server
