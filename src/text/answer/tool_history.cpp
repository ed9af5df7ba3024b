// Reading, checking and rewriting of histories.
#include "text/answer/tool_history.h"

#include "base/json.h"
#include "base/sha256.h"
#include "text/answer/tool_text.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

namespace genesis::text {

namespace json = boost::json;

namespace {

struct Turn {
  std::string role;
  std::optional<std::string> text;  // unset: `content` is null or absent
  std::string parts_json;           // `content` that is neither text nor null
  std::vector<ToolCall> calls;
  std::string answers;  // the id of the call whose result this is
  std::vector<std::pair<std::string, std::string>> others;  // further members, as JSON
};

Result<std::string> arguments_of(const json::object& function, const std::string& place) {
  const json::value* arguments = function.if_contains("arguments");
  if (arguments == nullptr || arguments->is_null()) {
    return std::string("{}");
  }
  if (arguments->is_object()) {
    return json::serialize(*arguments);
  }
  const json::string* text = arguments->if_string();
  if (text == nullptr) {
    return fail_param(place, fmt::format("'{}' must be the JSON text of an object", place));
  }
  const std::string_view raw(*text);
  if (raw.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return std::string("{}");
  }
  const auto parsed = parse_json(raw);
  if (!parsed) {
    return fail_param(place, fmt::format("'{}' is {}", place, parsed.error().message));
  }
  if (!parsed->is_object()) {
    return fail_param(place, fmt::format("'{}' must be the JSON text of an object", place));
  }
  return std::string(raw);
}

Result<ToolCall> parse_call(const json::value& value, const std::string& place) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  if (type.value_or("function") != "function") {
    return fail_param(place + ".type",
                      fmt::format("'{}.type' must be 'function', not '{}'", place, *type));
  }
  ToolCall call;
  GENESIS_TRY(auto id, get_string(*object, "id", place + "."));
  if (!id || id->empty()) {
    return fail_param(place + ".id", fmt::format("'{}.id' is required", place));
  }
  call.id = *std::move(id);
  const json::value* function = object->if_contains("function");
  if (function == nullptr || !function->is_object()) {
    return fail_param(
        place + ".function",
        fmt::format("'{}.function' must be an object with 'name' and 'arguments'", place));
  }
  const std::string prefix = place + ".function.";
  GENESIS_TRY(auto name, get_string(function->get_object(), "name", prefix));
  if (!name || name->empty()) {
    return fail_param(prefix + "name", fmt::format("'{}name' is required", prefix));
  }
  call.name = *std::move(name);
  GENESIS_TRY(call.arguments_json, arguments_of(function->get_object(), prefix + "arguments"));
  return call;
}

Result<std::vector<ToolCall>> parse_calls(const json::object& message, const std::string& prefix) {
  std::vector<ToolCall> calls;
  const json::value* field = message.if_contains("tool_calls");
  if (field == nullptr || field->is_null()) {
    return calls;
  }
  const std::string place = prefix + "tool_calls";
  const json::array* list = field->if_array();
  if (list == nullptr) {
    return fail_param(place, fmt::format("'{}' must be a list", place));
  }
  if (list->size() > kMostCallsInTurn) {
    return fail_param(
        place,
        fmt::format(
            "'{}' has {} calls, at most {} are taken", place, list->size(), kMostCallsInTurn));
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string call_place = fmt::format("{}[{}]", place, i);
    GENESIS_TRY(ToolCall call, parse_call((*list)[i], call_place));
    if (std::ranges::find(calls, call.id, &ToolCall::id) != calls.end()) {
      return fail_param(
          call_place + ".id",
          fmt::format("'{}.id': another call of this turn is '{}', too", call_place, call.id));
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

// Reads the messages in order and keeps book of the calls.
class Reader {
 public:
  Result<std::vector<Turn>> read(std::string_view messages_json) {
    auto parsed = parse_json(messages_json);
    if (!parsed) {
      return fail_param("messages", fmt::format("'messages' is {}", parsed.error().message));
    }
    const json::array* list = parsed->if_array();
    if (list == nullptr) {
      return fail_param("messages", "'messages' must be a list");
    }
    std::vector<Turn> turns;
    for (std::size_t i = 0; i < list->size(); ++i) {
      GENESIS_TRY(Turn turn, message((*list)[i], fmt::format("messages[{}]", i)));
      turns.push_back(std::move(turn));
    }
    return turns;
  }

 private:
  Result<Turn> message(const json::value& value, const std::string& place) {
    const json::object* object = value.if_object();
    if (object == nullptr) {
      return fail_param(place, fmt::format("'{}' must be an object", place));
    }
    const std::string prefix = place + ".";
    Turn turn;
    GENESIS_TRY(auto role, get_string(*object, "role", prefix));
    if (!role) {
      return fail_param(prefix + "role", fmt::format("'{}role' is required", prefix));
    }
    turn.role = *std::move(role);
    GENESIS_TRY(turn.calls, parse_calls(*object, prefix));
    if (!turn.calls.empty()) {
      if (turn.role != "assistant") {
        return fail_param(prefix + "tool_calls",
                          fmt::format("'{}tool_calls': only an assistant calls tools", prefix));
      }
      last_calls_.clear();
      for (const ToolCall& call : turn.calls) {
        last_calls_.push_back(call.id);
        known_.insert(call.id);
      }
    }
    if (turn.role == "tool") {
      GENESIS_TRY(turn.answers, answered(*object, prefix));
    }
    keep_members(*object, turn);
    return turn;
  }

  // The call whose result this is.
  Result<std::string> answered(const json::object& message, const std::string& prefix) {
    const std::string place = prefix + "tool_call_id";
    GENESIS_TRY(auto id, get_string(message, "tool_call_id", prefix));
    if (!id || id->empty()) {
      if (last_calls_.size() != 1) {
        return fail_param(
            place,
            fmt::format("'{}' is required: {} calls wait for a result", place, last_calls_.size()));
      }
      id = last_calls_.front();
    }
    if (!known_.contains(*id)) {
      return fail_param(
          place, fmt::format("'{}': no earlier assistant message has a call '{}'", place, *id));
    }
    std::erase(last_calls_, *id);
    return *std::move(id);
  }

  static void keep_members(const json::object& message, Turn& turn) {
    for (const auto& member : message) {
      const std::string_view key = member.key();
      if (key == "content") {
        if (const json::string* text = member.value().if_string()) {
          turn.text = std::string(*text);
        } else if (!member.value().is_null()) {
          turn.parts_json = json::serialize(member.value());
        }
      } else if (key != "role" && key != "tool_calls" && key != "tool_call_id") {
        turn.others.emplace_back(key, json::serialize(member.value()));
      }
    }
  }

  std::unordered_set<std::string> known_;  // ids of all calls so far
  std::vector<std::string> last_calls_;    // of the last turn with calls, without result yet
};

bool needs_rewriting(const std::vector<Turn>& turns, const HistoryShape& shape) {
  return !shape.instruction.empty() || std::ranges::any_of(turns, [&shape](const Turn& turn) {
    return !turn.calls.empty() || turn.role == "tool" ||
           (turn.role == "system" && !shape.traits.takes_system);
  });
}

// Nine letters and digits, which tell as much of the id as fits: 62^9 is about 2^53.
std::string short_id(const std::string& id) {
  const bool fits =
      id.size() == 9 && std::ranges::all_of(id, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      });
  if (fits) {
    return id;
  }
  const Digest digest = sha256(id);
  RandomBits bits;
  for (int i = 0; i < 8; ++i) {
    bits.high = bits.high << 8U | digest[static_cast<std::size_t>(i)];
  }
  return make_tool_call_id(ToolFormat::kMistral, bits);
}

// One call a turn, each followed by its result.
std::vector<Turn> one_call_a_turn(std::vector<Turn> turns) {
  std::vector<Turn> out;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    Turn& turn = turns[i];
    if (turn.calls.size() < 2) {
      out.push_back(std::move(turn));
      continue;
    }
    std::size_t end = i + 1;
    while (end < turns.size() && turns[end].role == "tool") {
      ++end;
    }
    const auto results = std::span(turns).subspan(i + 1, end - i - 1);
    const std::vector<ToolCall> calls = std::exchange(turn.calls, {});
    for (const ToolCall& call : calls) {
      turn.calls = {call};
      out.push_back(turn);
      turn.text.reset();  // said once
      turn.others.clear();
      std::ranges::copy_if(results, std::back_inserter(out), [&call](const Turn& result) {
        return result.answers == call.id;
      });
    }
    std::ranges::copy_if(results, std::back_inserter(out), [&calls](const Turn& result) {
      return std::ranges::find(calls, result.answers, &ToolCall::id) == calls.end();
    });
    i = end - 1;
  }
  return out;
}

std::string joined(std::string_view a, std::string_view b, std::string_view between) {
  std::string out(a);
  out += a.empty() || b.empty() ? "" : between;
  return out += b;
}

// Results as text of the user; neighbours of one role become one message, as roles must alternate.
std::vector<Turn> results_as_text(std::vector<Turn> turns) {
  std::vector<Turn> out;
  bool merge = false;  // the last one is made of results
  for (Turn& turn : turns) {
    const bool result = turn.role == "tool";
    if (result) {
      turn.role = "user";
      turn.text = fmt::format("<tool_response>\n{}\n</tool_response>",
                              turn.parts_json.empty() ? turn.text.value_or("") : turn.parts_json);
      turn.parts_json.clear();
      turn.answers.clear();
      turn.others.clear();
    }
    if (merge && turn.role == "user" && turn.parts_json.empty()) {
      out.back().text = joined(out.back().text.value_or(""), turn.text.value_or(""), "\n");
    } else {
      out.push_back(std::move(turn));
    }
    merge = result;
  }
  return out;
}

void calls_as_text(std::vector<Turn>& turns, ToolFormat format) {
  for (Turn& turn : turns) {
    if (!turn.calls.empty() && turn.parts_json.empty()) {
      turn.text = joined(turn.text.value_or(""), write_tool_calls(format, turn.calls), "\n");
      turn.calls.clear();
    }
  }
}

void place_instruction(std::vector<Turn>& turns, const HistoryShape& shape) {
  const bool has_system =
      !turns.empty() && turns.front().role == "system" && turns.front().parts_json.empty();
  if (!shape.instruction.empty()) {
    if (!has_system) {
      turns.insert(turns.begin(), Turn{.role = "system"});
    }
    Turn& system = turns.front();
    system.text = joined(system.text.value_or(""), shape.instruction, "\n\n");
  }
  if (shape.traits.takes_system || turns.empty() || turns.front().role != "system") {
    return;
  }
  const auto user = std::ranges::find(turns, "user", &Turn::role);
  if (user != turns.end() && user->parts_json.empty()) {
    user->text = joined(turns.front().text.value_or(""), user->text.value_or(""), "\n\n");
    turns.erase(turns.begin());
  } else {
    turns.front().role = "user";
  }
}

void write_calls(JsonWriter& out, const Turn& turn, const CallTraits& traits) {
  out.key("tool_calls");
  out.begin_array();
  for (const ToolCall& call : turn.calls) {
    out.begin_object();
    out.field("id", traits.short_ids ? short_id(call.id) : call.id);
    out.field("type", "function");
    out.key("function");
    out.begin_object();
    out.field("name", call.name);
    if (traits.arguments_as_text) {
      out.field("arguments", call.arguments_json);
    } else {
      out.field_raw("arguments", call.arguments_json);
    }
    out.end_object();
    out.end_object();
  }
  out.end_array();
}

void write_turn(JsonWriter& out, const Turn& turn, const CallTraits& traits) {
  out.begin_object();
  out.field("role", turn.role);
  if (!turn.parts_json.empty()) {
    out.field_raw("content", turn.parts_json);
  } else if (!turn.calls.empty() && traits.null_content && turn.text.value_or("").empty()) {
    out.field_null("content");
  } else {
    out.field("content", turn.text.value_or(""));
  }
  for (const auto& [key, value] : turn.others) {
    out.field_raw(key, value);
  }
  if (!turn.answers.empty()) {
    out.field("tool_call_id", traits.short_ids ? short_id(turn.answers) : turn.answers);
  }
  if (!turn.calls.empty()) {
    write_calls(out, turn, traits);
  }
  out.end_object();
}

}  // namespace

Result<void> check_history(std::string_view messages_json) {
  GENESIS_TRY_VOID(Reader().read(messages_json));
  return {};
}

Result<std::string> template_messages(std::string_view messages_json, const HistoryShape& shape) {
  GENESIS_TRY(std::vector<Turn> turns, Reader().read(messages_json));
  if (!needs_rewriting(turns, shape)) {
    return std::string(messages_json);
  }
  if (!shape.traits.takes_calls) {
    calls_as_text(turns, shape.format);
  } else if (shape.traits.calls.one_a_turn) {
    turns = one_call_a_turn(std::move(turns));
  }
  if (!shape.traits.takes_results) {
    turns = results_as_text(std::move(turns));
  }
  place_instruction(turns, shape);
  JsonWriter out;
  out.begin_array();
  for (const Turn& turn : turns) {
    write_turn(out, turn, shape.traits.calls);
  }
  out.end_array();
  return out.take();
}

}  // namespace genesis::text
