// The `output` of a response as it grows: items one after the other, and the events that tell of
// them. The whole answer is made by the same code with its events thrown away.
// Source: platform.openai.com/docs/api-reference/responses-streaming.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "server/tool_stream.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::server {

// Not thread-safe. `out` gets complete SSE events appended.
class ResponseOutput {
 public:
  // `serial` makes the items' ids.
  explicit ResponseOutput(std::string_view serial) : serial_(serial) {}

  void reasoning(std::string& out, std::string_view text);
  void text(std::string& out, std::string_view text);
  Result<void> tools(std::string& out, std::string_view deltas_json);
  // Ends what is open.
  void finish(std::string& out);

  // The items that are over, as a JSON array.
  std::string items_json() const;

  // One event with its running number; `fill` adds its members.
  void event(std::string& out, std::string_view type, const std::function<void(JsonWriter&)>& fill);

 private:
  enum class Kind : std::uint8_t { kNone, kReasoning, kMessage, kCall };

  void open(std::string& out, Kind kind);
  void close(std::string& out);
  void close_text(std::string& out);
  void pieces(std::string& out, const std::vector<ToolPiece>& list);
  std::string item_json(bool over) const;
  std::string part_json() const;

  std::int64_t index() const { return static_cast<std::int64_t>(items_.size()); }

  std::string serial_;
  std::vector<std::string> items_;
  std::int64_t events_ = 0;
  // Of the item that is open.
  Kind kind_ = Kind::kNone;
  std::string id_;
  std::string text_;
  std::string call_id_;
  std::string name_;
  ToolSequencer sequencer_;
};

}  // namespace genesis::server
