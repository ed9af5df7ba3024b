#include "server/tool_stream.h"

#include "base/json.h"
#include "server/tool_calls.h"

#include <boost/json.hpp>

#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

std::unexpected<Error> malformed() {
  return fail(ErrorCode::kUpstream, "the model's endpoint sent malformed tool calls");
}

}  // namespace

void ToolSequencer::scan(Call& call, std::string_view piece) {
  for (const char c : piece) {
    if (call.escaped) {
      call.escaped = false;
    } else if (call.in_string) {
      call.escaped = c == '\\';
      call.in_string = c != '"';
    } else if (c == '"') {
      call.in_string = true;
    } else if (c == '{' || c == '[') {
      ++call.depth;
    } else if ((c == '}' || c == ']') && call.depth > 0) {
      call.whole = --call.depth == 0;
    }
  }
}

Result<std::vector<ToolPiece>> ToolSequencer::add(std::string_view deltas_json) {
  const auto parsed = parse_json(deltas_json);
  if (!parsed || !parsed->is_array()) {
    return malformed();
  }
  for (const json::value& value : parsed->get_array()) {
    const json::object* delta = value.if_object();
    if (delta == nullptr) {
      return malformed();
    }
    GENESIS_TRY(const auto index, get_integer(*delta, "index"));
    const std::int64_t place = index.value_or(std::ssize(calls_));
    if (place < 0 || std::cmp_greater_equal(place, kMaxToolCalls)) {
      return malformed();
    }
    const auto at = static_cast<std::size_t>(place);
    if (at >= calls_.size()) {
      calls_.resize(at + 1);
    }
    Call& call = calls_[at];
    GENESIS_TRY(auto id, get_string(*delta, "id"));
    call.id = id ? std::move(*id) : call.id;
    const json::value* function = delta->if_contains("function");
    if (function == nullptr || !function->is_object()) {
      continue;
    }
    GENESIS_TRY(auto name, get_string(function->get_object(), "name"));
    call.name = name ? std::move(*name) : call.name;
    GENESIS_TRY(const auto arguments, get_string(function->get_object(), "arguments"));
    if (arguments) {
      call.arguments += *arguments;
      scan(call, *arguments);
    }
  }
  std::vector<ToolPiece> pieces;
  advance(pieces, false);
  return pieces;
}

std::vector<ToolPiece> ToolSequencer::finish() {
  std::vector<ToolPiece> pieces;
  advance(pieces, true);
  return pieces;
}

void ToolSequencer::advance(std::vector<ToolPiece>& pieces, bool last) {
  while (at_ < calls_.size()) {
    Call& call = calls_[at_];
    if (!call.begun && call.name.empty() && !last) {
      return;  // a call that later ones overtook: its name is still to come
    }
    if (!std::exchange(call.begun, true)) {
      pieces.push_back({.kind = ToolPiece::Kind::kBegin,
                        .call = at_,
                        .id = call.id,
                        .name = call.name,
                        .arguments = {}});
    }
    if (call.sent < call.arguments.size()) {
      pieces.push_back({.kind = ToolPiece::Kind::kArguments,
                        .call = at_,
                        .id = {},
                        .name = {},
                        .arguments = call.arguments.substr(call.sent)});
      call.sent = call.arguments.size();
    }
    // The open call may still grow, unless it is whole and somebody waits behind it.
    const bool over = last || (call.whole && at_ + 1 < calls_.size());
    if (!over) {
      return;
    }
    pieces.push_back({.kind = ToolPiece::Kind::kEnd,
                      .call = at_,
                      .id = call.id,
                      .name = call.name,
                      .arguments = call.arguments});
    ++at_;
  }
}

}  // namespace genesis::server
