#include "server/tool_calls.h"

#include "base/json.h"

#include <boost/json.hpp>

#include <algorithm>
#include <initializer_list>

namespace genesis::server {

namespace json = boost::json;

namespace {

// More than any upstream adds.
constexpr std::size_t kMaxExtra = 16;

using Extra = std::vector<std::pair<std::string, std::string>>;

// Keeps the members that are not `known`; a later value replaces an earlier one unless it is null.
void keep_extra(const json::object& object,
                std::initializer_list<std::string_view> known,
                Extra& extra) {
  for (const auto& member : object) {
    const std::string_view key = member.key();
    if (std::ranges::find(known, key) != known.end()) {
      continue;
    }
    const auto at = std::ranges::find(extra, key, &Extra::value_type::first);
    if (at == extra.end() && extra.size() < kMaxExtra) {
      extra.emplace_back(key, json::serialize(member.value()));
    } else if (at != extra.end() && !member.value().is_null()) {
      at->second = json::serialize(member.value());
    }
  }
}

void write_extra(JsonWriter& w, const Extra& extra) {
  for (const auto& [key, value] : extra) {
    w.field_raw(key, value);
  }
}

std::unexpected<Error> malformed() {
  return fail(ErrorCode::kUpstream, "the model's endpoint sent malformed tool calls");
}

}  // namespace

Result<void> ToolCallMerger::add(std::string_view deltas_json) {
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
    const std::int64_t at = index.value_or(static_cast<std::int64_t>(calls_.size()));
    if (at < 0 || at >= static_cast<std::int64_t>(kMaxToolCalls)) {
      return malformed();
    }
    if (static_cast<std::size_t>(at) >= calls_.size()) {
      calls_.resize(static_cast<std::size_t>(at) + 1);
    }
    Call& call = calls_[static_cast<std::size_t>(at)];
    GENESIS_TRY(auto id, get_string(*delta, "id"));
    call.id = id ? std::move(*id) : call.id;
    keep_extra(*delta, {"index", "id", "type", "function"}, call.extra);
    const json::value* function = delta->if_contains("function");
    if (function == nullptr || !function->is_object()) {
      continue;
    }
    keep_extra(function->get_object(), {"name", "arguments"}, call.function_extra);
    GENESIS_TRY(auto name, get_string(function->get_object(), "name"));
    call.name = name ? std::move(*name) : call.name;
    GENESIS_TRY(const auto arguments, get_string(function->get_object(), "arguments"));
    call.arguments += arguments.value_or("");
  }
  return {};
}

std::string ToolCallMerger::to_json() const {
  JsonWriter w;
  w.begin_array();
  for (const Call& call : calls_) {
    w.begin_object();
    w.field("id", call.id);
    w.field("type", "function");
    w.key("function");
    w.begin_object();
    w.field("name", call.name);
    w.field("arguments", call.arguments);
    write_extra(w, call.function_extra);
    w.end_object();
    write_extra(w, call.extra);
    w.end_object();
  }
  w.end_array();
  return w.take();
}

}  // namespace genesis::server
