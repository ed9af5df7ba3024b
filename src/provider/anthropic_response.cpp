#include "provider/anthropic_response.h"

#include "base/json.h"
#include "base/json_cursor.h"
#include "base/log.h"
#include "provider/upstream_errors.h"
#include "provider/vectors.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <utility>

namespace genesis::provider {

namespace {

namespace json = boost::json;

// More tools than a request may declare, used in one answer, are no answer.
constexpr std::int64_t kMaxCalls = 128;
// Enough of an unknown word to recognise it in a log.
constexpr std::size_t kMaxLoggedWord = 40;

std::unexpected<Error> unusable(std::string why) {
  return fail(ErrorCode::kUpstream, std::move(why));
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

// "" when absent; what is no string is an error of its own only where it matters.
std::string_view text_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || !value->is_string() ? std::string_view()
                                                 : std::string_view(value->get_string());
}

// What most events are: {"type":"content_block_delta","index":N,"delta":{"type":"text_delta",
// "text":"..."}}, read without a tree. Nullopt for everything else.
std::optional<std::string> scan_text_delta(std::string_view data) {
  JsonCursor cursor(data);
  std::optional<std::string_view> type;
  std::optional<std::string_view> kind;
  std::optional<std::string_view> text;
  const auto set_once = [&](std::optional<std::string_view>& field) {
    const bool first = !field.has_value();
    field = cursor.string();
    return first && field.has_value();
  };
  const auto read_delta = [&] {
    cursor.begin_object();
    while (const auto name = cursor.next_member()) {
      const bool plain = *name == "type"   ? set_once(kind)
                         : *name == "text" ? set_once(text)
                                           : false;
      if (!plain) {
        return false;
      }
    }
    return !cursor.failed();
  };
  cursor.begin_object();
  while (const auto name = cursor.next_member()) {
    const bool plain = *name == "type"    ? set_once(type)
                       : *name == "index" ? cursor.integer().has_value()
                       : *name == "delta" ? read_delta()
                                          : false;
    if (!plain) {
      return std::nullopt;
    }
  }
  if (!cursor.at_end() || type != "content_block_delta" || kind != "text_delta" || !text) {
    return std::nullopt;
  }
  return unescape_json(*text);
}

// One call, or a piece of one, as OpenAI's `delta.tool_calls`.
struct CallPiece {
  std::int64_t index = 0;
  std::string_view id;  // with `name` on the first piece only
  std::string_view name;
  std::string_view arguments;
};

void write_call(JsonWriter& out, const CallPiece& piece) {
  out.begin_object();
  out.field("index", piece.index);
  if (!piece.name.empty()) {
    out.field("id", piece.id);
    out.field("type", "function");
  }
  out.key("function");
  out.begin_object();
  if (!piece.name.empty()) {
    out.field("name", piece.name);
  }
  out.field("arguments", piece.arguments);
  out.end_object();
  out.end_object();
}

std::string call_list(const CallPiece& piece) {
  JsonWriter out;
  out.begin_array();
  write_call(out, piece);
  out.end_array();
  return out.take();
}

// Reads a count over the one told before; false when it cannot be true.
bool update_count(const json::object& usage, std::string_view key, std::int64_t& count) {
  const auto value = get_integer(usage, key);
  if (!value) {
    return false;
  }
  count = value->value_or(count);
  return count >= 0 && count <= kMaxUsageTokens;
}

FinishReason finish_of(std::string_view reason, std::string_view endpoint) {
  if (reason == "max_tokens" || reason == "model_context_window_exceeded") {
    return FinishReason::kLength;
  }
  if (reason == "stop_sequence") {
    return FinishReason::kStopSequence;
  }
  if (reason == "tool_use") {
    return FinishReason::kToolCalls;
  }
  if (reason == "refusal") {
    return FinishReason::kContentFilter;
  }
  if (reason != "end_turn" && reason != "pause_turn") {
    log(LogLevel::kWarn,
        "unknown stop_reason taken as 'end_turn'",
        {{"endpoint", endpoint}, {"stop_reason", reason.substr(0, kMaxLoggedWord)}});
  }
  return FinishReason::kStop;
}

AnswerPart part_with(ChatDelta delta) {
  AnswerPart part;
  part.deltas.push_back(std::move(delta));
  return part;
}

}  // namespace

AnthropicReader::AnthropicReader(const ChatRequest& request,
                                 std::string endpoint,
                                 const Clock& clock)
    : request_(request), endpoint_(std::move(endpoint)), clock_(clock) {}

Result<AnswerPart> AnthropicReader::read_event(net::SseEvent& event) {
  if (event.data.empty() || event.event == "ping") {
    return AnswerPart{};
  }
  const auto read = [&]() -> Result<AnswerPart> {
    if (auto text = scan_text_delta(event.data)) {
      return part_with({.text = std::move(*text)});
    }
    GENESIS_TRY(const json::value value, parse_json(event.data));
    if (!value.is_object()) {
      return unusable("not a JSON object");
    }
    const json::object& object = value.get_object();
    const std::string_view type = text_at(object, "type");
    return read_object(object, type.empty() ? std::string_view(event.event) : type);
  };
  auto part = read();
  if (!part) {
    return unusable_answer(endpoint_, part.error());
  }
  if (request_.dialect == Dialect::kAnthropic && !part->deltas.empty()) {
    part->deltas.front().raw = to_one_line(std::move(event.data));
    part->deltas.front().raw_event = std::move(event.event);
  }
  return part;
}

Result<AnswerPart> AnthropicReader::read_object(const json::object& event, std::string_view name) {
  const auto as_part = [](Result<ChatDelta> delta) -> Result<AnswerPart> {
    if (!delta) {
      return std::unexpected(std::move(delta).error());
    }
    return part_with(std::move(*delta));
  };
  if (name == "content_block_delta") {
    return as_part(read_block_delta(event));
  }
  if (name == "content_block_start") {
    return as_part(read_block_start(event));
  }
  if (name == "content_block_stop") {
    return as_part(read_block_stop(event));
  }
  if (name == "message_start") {
    const json::object* message = object_at(event, "message");
    if (message == nullptr) {
      return unusable("message_start without a message");
    }
    AnswerPart part = part_with({});
    part.absurd_usage = !read_usage(*message);
    return part;
  }
  if (name == "message_delta") {
    return read_message_delta(event);
  }
  if (name == "message_stop") {
    if (!finish_) {
      return unusable("message_stop without a stop_reason");
    }
    AnswerPart part = part_with(finish_delta());
    part.end = true;
    return part;
  }
  if (name == "error") {
    return AnswerPart{
        .error = error_in_stream(find_upstream_error(event).value_or(UpstreamError{}), endpoint_)};
  }
  // The API's rules say that unknown events are to be expected.
  return name == "ping" ? AnswerPart{} : part_with({});
}

Result<ChatDelta> AnthropicReader::read_block_start(const json::object& event) {
  const json::object* block = object_at(event, "content_block");
  if (block == nullptr) {
    return unusable("content_block_start without a content_block");
  }
  ChatDelta delta;
  if (text_at(*block, "type") != "tool_use") {
    GENESIS_TRY_VOID(add_block(*block, delta));
    return delta;
  }
  GENESIS_TRY(const auto at, get_integer(event, "index"));
  if (calls_ == kMaxCalls) {
    return unusable("more tool calls than any request allows");
  }
  const Tool tool{.index = calls_++};
  tools_[at.value_or(0)] = tool;
  const std::string_view name = text_at(*block, "name");
  if (name.empty()) {
    return unusable("a tool_use without a name");
  }
  // Servers that copy the API may tell the whole input here.
  const json::object* input = object_at(*block, "input");
  const bool whole = input != nullptr && !input->empty();
  tools_[at.value_or(0)].has_arguments = whole;
  const std::string arguments = whole ? json::serialize(*input) : std::string();
  delta.tool_calls_json = call_list(
      {.index = tool.index, .id = text_at(*block, "id"), .name = name, .arguments = arguments});
  return delta;
}

Result<ChatDelta> AnthropicReader::read_block_delta(const json::object& event) {
  const json::object* change = object_at(event, "delta");
  if (change == nullptr) {
    return unusable("content_block_delta without a delta");
  }
  ChatDelta delta;
  const std::string_view type = text_at(*change, "type");
  if (type == "text_delta") {
    GENESIS_TRY(auto text, get_string(*change, "text"));
    delta.text = std::move(text).value_or("");
  } else if (type == "thinking_delta") {
    GENESIS_TRY(auto thinking, get_string(*change, "thinking"));
    delta.reasoning = std::move(thinking).value_or("");
  } else if (type == "input_json_delta") {
    GENESIS_TRY(const auto at, get_integer(event, "index"));
    GENESIS_TRY(const auto piece, get_string(*change, "partial_json"));
    const auto tool = tools_.find(at.value_or(0));
    // The input of a tool that runs at the provider is not for the client to answer.
    if (tool != tools_.end() && piece && !piece->empty()) {
      tool->second.has_arguments = true;
      delta.tool_calls_json = call_list({.index = tool->second.index, .arguments = *piece});
    }
  }
  return delta;
}

Result<ChatDelta> AnthropicReader::read_block_stop(const json::object& event) {
  ChatDelta delta;
  GENESIS_TRY(const auto at, get_integer(event, "index"));
  const auto tool = tools_.find(at.value_or(0));
  if (tool != tools_.end()) {
    // OpenAI's clients parse the arguments, and nothing is no JSON.
    if (!tool->second.has_arguments) {
      delta.tool_calls_json = call_list({.index = tool->second.index, .arguments = "{}"});
    }
    tools_.erase(tool);
  }
  return delta;
}

Result<AnswerPart> AnthropicReader::read_message_delta(const json::object& event) {
  AnswerPart part = part_with({});
  if (const json::object* change = object_at(event, "delta")) {
    GENESIS_TRY_VOID(read_stop(*change));
  }
  if (object_at(event, "usage") != nullptr) {
    part.absurd_usage = !read_usage(event);
    if (!part.absurd_usage) {
      part.usage = usage();
    }
  }
  return part;
}

Result<void> AnthropicReader::read_stop(const json::object& holder) {
  GENESIS_TRY(const auto reason, get_string(holder, "stop_reason"));
  if (reason) {
    finish_ = finish_of(*reason, endpoint_);
  }
  GENESIS_TRY(auto sequence, get_string(holder, "stop_sequence"));
  stop_sequence_ = std::move(sequence).value_or("");
  return {};
}

Usage AnthropicReader::usage() const {
  return {.input = fresh_input_ + cache_read_ + cache_write_,
          .cached_input = cache_read_,
          .cache_write = cache_write_,
          .output = output_};
}

// Of a message, or of the message_delta that closes it; true when the counts can be true.
bool AnthropicReader::read_usage(const json::object& holder) {
  const json::object* usage = object_at(holder, "usage");
  return usage == nullptr || (update_count(*usage, "input_tokens", fresh_input_) &&
                              update_count(*usage, "cache_read_input_tokens", cache_read_) &&
                              update_count(*usage, "cache_creation_input_tokens", cache_write_) &&
                              update_count(*usage, "output_tokens", output_));
}

// TGI's clients see the stop string that ended an answer, Anthropic's do not.
std::string AnthropicReader::shown_stop() const {
  const bool shown =
      request_.sampling.include_stop_in_output && finish_ == FinishReason::kStopSequence;
  return shown ? stop_sequence_ : std::string();
}

ChatDelta AnthropicReader::finish_delta() const {
  ChatDelta delta;
  delta.finish = finish_;
  delta.stop_sequence = stop_sequence_;
  delta.text = shown_stop();
  return delta;
}

// A whole block, of a message or at its start.
Result<void> AnthropicReader::add_block(const json::object& block, ChatDelta& delta) {
  const std::string_view type = text_at(block, "type");
  if (type == "text") {
    GENESIS_TRY(const auto text, get_string(block, "text"));
    delta.text += text.value_or("");
  } else if (type == "thinking") {
    GENESIS_TRY(const auto thinking, get_string(block, "thinking"));
    delta.reasoning += thinking.value_or("");
  }
  return {};
}

Result<AnswerPart> AnthropicReader::read_message(const json::object& message) {
  const json::value* content = message.if_contains("content");
  if (content == nullptr || !content->is_array()) {
    return unusable("no 'content'");
  }
  ChatDelta delta;
  JsonWriter calls;
  calls.begin_array();
  for (const json::value& item : content->get_array()) {
    const json::object* block = item.if_object();
    if (block == nullptr) {
      return unusable("a content block is not an object");
    }
    GENESIS_TRY_VOID(add_block(*block, delta));
    if (text_at(*block, "type") != "tool_use") {
      continue;
    }
    const json::value* input = block->if_contains("input");
    if (text_at(*block, "name").empty() || calls_ == kMaxCalls) {
      return unusable("a tool_use without a name, or too many of them");
    }
    const std::string arguments = input == nullptr ? "{}" : json::serialize(*input);
    write_call(calls,
               {.index = calls_++,
                .id = text_at(*block, "id"),
                .name = text_at(*block, "name"),
                .arguments = arguments});
  }
  calls.end_array();
  if (calls_ > 0) {
    delta.tool_calls_json = calls.take();
  }
  GENESIS_TRY_VOID(read_stop(message));
  delta.finish = finish_;
  delta.stop_sequence = stop_sequence_;
  delta.text += shown_stop();
  AnswerPart part = part_with(std::move(delta));
  part.absurd_usage = !read_usage(message);
  if (!part.absurd_usage && object_at(message, "usage") != nullptr) {
    part.usage = usage();
  }
  return part;
}

Result<AnswerPart> AnthropicReader::read_body(std::string& body, const net::Headers&) {
  const auto read = [&]() -> Result<AnswerPart> {
    GENESIS_TRY(const json::value value, parse_json(body));
    if (!value.is_object()) {
      return unusable("not a JSON object");
    }
    if (const auto told = find_upstream_error(value.get_object())) {
      return AnswerPart{.error = error_in_stream(*told, endpoint_)};
    }
    return read_message(value.get_object());
  };
  auto part = read();
  if (!part) {
    return unusable_answer(endpoint_, part.error());
  }
  if (request_.dialect == Dialect::kAnthropic && !request_.stream && !part->deltas.empty()) {
    part->deltas.front().raw = std::move(body);
  }
  return part;
}

Error AnthropicReader::read_refusal(int status,
                                    const net::Headers& headers,
                                    std::string_view body) {
  return error_from_response(status, headers, body, endpoint_, clock_.unix_ms());
}

}  // namespace genesis::provider
