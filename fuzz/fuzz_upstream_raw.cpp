// Fuzz target: any JSON as what an upstream says in the client's own dialect, and as its tool
// calls. What is put together from it is JSON again, and tools come one after the other.
#include "base/check.h"
#include "base/json.h"
#include "server/anthropic_raw.h"
#include "server/openai_raw.h"
#include "server/tool_calls.h"
#include "server/tool_stream.h"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {
namespace {

void check_members(const RawMembers& members) {
  for (const RawMember& member : members.all()) {
    GENESIS_CHECK(parse_json(member.value).has_value());
  }
}

void check_raw(std::string_view text) {
  OpenAiRaw openai(2);
  AnthropicRaw anthropic;
  for (int i = 0; i < 3; ++i) {  // the same piece again: what appends must still be JSON
    openai.add(text);
    anthropic.add(text);
  }
  check_members(openai.top());
  for (std::size_t i = 0; i < 2; ++i) {
    check_members(openai.choice(i));
    check_members(openai.message(i));
  }
  GENESIS_CHECK(!openai.whole().has_value());
  const auto body = anthropic.body();
  GENESIS_CHECK(!body || parse_json(*body));
  for (const bool usage : {false, true}) {
    OpenAiRawStream stream(usage);
    const auto frame = stream.frame(text);
    GENESIS_CHECK(!frame || frame->empty() || frame->ends_with("\n\n"));
  }
}

// Each call begins, goes on and ends before the next; its end tells all its arguments.
void check_pieces(const std::vector<ToolPiece>& pieces,
                  std::optional<std::size_t>& open,
                  std::string& arguments) {
  for (const ToolPiece& piece : pieces) {
    switch (piece.kind) {
      case ToolPiece::Kind::kBegin:
        GENESIS_CHECK(!open);
        open = piece.call;
        arguments.clear();
        break;
      case ToolPiece::Kind::kArguments:
        GENESIS_CHECK(open == piece.call);
        arguments += piece.arguments;
        break;
      case ToolPiece::Kind::kEnd:
        GENESIS_CHECK(open == piece.call && arguments == piece.arguments);
        open.reset();
        break;
    }
  }
}

void check_tools(std::string_view text) {
  ToolCallMerger merger;
  ToolSequencer sequencer;
  std::optional<std::size_t> open;
  std::string arguments;
  for (int i = 0; i < 2; ++i) {
    if (merger.add(text)) {
      GENESIS_CHECK(parse_json(merger.to_json()).has_value());
    }
    if (const auto pieces = sequencer.add(text)) {
      check_pieces(*pieces, open, arguments);
    }
  }
  check_pieces(sequencer.finish(), open, arguments);
  GENESIS_CHECK(!open);
}

}  // namespace
}  // namespace genesis::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Providers hand on only what they have read as JSON.
  if (genesis::parse_json(text)) {
    genesis::server::check_raw(text);
    genesis::server::check_tools(text);
  }
  return 0;
}
