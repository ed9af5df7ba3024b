// The event stream of /v1/messages: message_start, content blocks one after the other, a
// message_delta with stop reason and usage, message_stop.
#include "base/json.h"
#include "net/sse.h"
#include "server/tool_stream.h"
#include "server/write_anthropic.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <utility>

namespace genesis::server {

namespace {

namespace json = boost::json;

std::string event(std::string_view name, std::string_view data) {
  return fmt::format("event: {}\n{}", name, net::sse_frame(data));
}

// Texts per token: only the text is escaped.
std::string text_event(std::int64_t index,
                       std::string_view type,
                       std::string_view key,
                       std::string_view text) {
  std::string data = fmt::format(
      R"({{"type":"content_block_delta","index":{},"delta":{{"type":"{}","{}":)", index, type, key);
  append_json_string(data, text);
  data += "}}";
  return event("content_block_delta", data);
}

enum class Block : std::uint8_t { kNone, kThinking, kText, kTool, kForeign };

class MessageStream final : public StreamFormat {
 public:
  explicit MessageStream(const AnswerMeta& meta) : meta_(meta) {}

  void begin(const ServedBy& served) override { model_ = served.model; }

  Result<std::string> delta(const ChatDelta& delta) override;
  std::string end(const Usage& usage) override;
  std::string cut(const Error& error, std::string_view body) override;

 private:
  // The upstream's own event as it is; nullopt when it is none of a stream.
  std::optional<std::string> pass(const ChatDelta& delta);
  void start(std::string& out);
  void open(std::string& out, Block kind, std::string_view block_json);
  void close(std::string& out);
  void add_text(std::string& out, Block kind, std::string_view text);
  void add_tools(std::string& out, const std::vector<ToolPiece>& pieces);

  void end_tools(std::string& out) { add_tools(out, tools_.finish()); }

  const AnswerMeta& meta_;
  std::string model_;
  bool started_ = false;
  bool told_stop_ = false;  // message_delta has gone out
  bool stopped_ = false;    // message_stop has gone out
  Block open_ = Block::kNone;
  std::int64_t index_ = -1;  // of the block that is or was open
  ToolSequencer tools_;
  std::optional<FinishReason> finish_;
  std::string stop_sequence_;
};

Result<std::string> MessageStream::delta(const ChatDelta& delta) {
  if (delta.finish) {
    finish_ = delta.finish;
    stop_sequence_ = delta.stop_sequence;
  }
  if (!delta.raw.empty()) {
    if (auto frame = pass(delta)) {
      return *std::move(frame);
    }
  }
  std::string out;
  start(out);
  if (!delta.reasoning.empty()) {
    end_tools(out);
    add_text(out, Block::kThinking, delta.reasoning);
  }
  if (!delta.text.empty()) {
    end_tools(out);
    add_text(out, Block::kText, delta.text);
  }
  if (!delta.tool_calls_json.empty()) {
    GENESIS_TRY(const auto pieces, tools_.add(delta.tool_calls_json));
    add_tools(out, pieces);
  }
  return out;
}

std::optional<std::string> MessageStream::pass(const ChatDelta& delta) {
  const auto parsed = parse_json(delta.raw);
  const json::object* object = parsed ? parsed->if_object() : nullptr;
  const json::value* type = object == nullptr ? nullptr : object->if_contains("type");
  if (type == nullptr || !type->is_string() || type->get_string() == "message") {
    return std::nullopt;
  }
  const std::string_view name = type->get_string();
  const auto index = get_integer(*object, "index");
  if (name == "message_start") {
    if (std::exchange(started_, true)) {
      return std::string();  // an answer that goes on at another upstream has begun already
    }
  } else if (name == "content_block_start") {
    open_ = Block::kForeign;
    index_ = index.value_or(std::nullopt).value_or(index_ + 1);
  } else if (name == "content_block_stop") {
    open_ = Block::kNone;
  } else if (name == "message_delta") {
    told_stop_ = true;
  } else if (name == "message_stop") {
    stopped_ = true;
  }
  return event(delta.raw_event.empty() ? name : std::string_view(delta.raw_event), delta.raw);
}

void MessageStream::start(std::string& out) {
  if (std::exchange(started_, true)) {
    return;
  }
  JsonWriter w;
  w.begin_object();
  w.field("type", "message_start");
  w.key("message");
  w.begin_object();
  w.field("id", meta_.id);
  w.field("type", "message");
  w.field("role", "assistant");
  w.field("model", model_);
  w.field_raw("content", "[]");
  w.field_null("stop_reason");
  w.field_null("stop_sequence");
  // Counts come with the last event, where they are known; clients take the later ones.
  w.field_raw("usage", anthropic_usage_json({}));
  w.end_object();
  w.end_object();
  out += event("message_start", w.str());
  out += event("ping", R"({"type":"ping"})");
}

void MessageStream::open(std::string& out, Block kind, std::string_view block_json) {
  close(out);
  open_ = kind;
  ++index_;
  out += event(
      "content_block_start",
      fmt::format(
          R"({{"type":"content_block_start","index":{},"content_block":{}}})", index_, block_json));
}

void MessageStream::close(std::string& out) {
  if (std::exchange(open_, Block::kNone) != Block::kNone) {
    out += event("content_block_stop",
                 fmt::format(R"({{"type":"content_block_stop","index":{}}})", index_));
  }
}

void MessageStream::add_text(std::string& out, Block kind, std::string_view text) {
  const bool thinking = kind == Block::kThinking;
  if (open_ != kind) {
    open(out,
         kind,
         thinking ? R"({"type":"thinking","thinking":"","signature":""})"
                  : R"({"type":"text","text":""})");
  }
  out += thinking ? text_event(index_, "thinking_delta", "thinking", text)
                  : text_event(index_, "text_delta", "text", text);
}

void MessageStream::add_tools(std::string& out, const std::vector<ToolPiece>& pieces) {
  for (const ToolPiece& piece : pieces) {
    switch (piece.kind) {
      case ToolPiece::Kind::kBegin: {
        JsonWriter w;
        w.begin_object();
        w.field("type", "tool_use");
        w.field("id", piece.id.empty() ? tool_use_id(meta_, piece.call) : piece.id);
        w.field("name", piece.name);
        w.field_raw("input", "{}");
        w.end_object();
        open(out, Block::kTool, w.str());
        break;
      }
      case ToolPiece::Kind::kArguments:
        out += text_event(index_, "input_json_delta", "partial_json", piece.arguments);
        break;
      case ToolPiece::Kind::kEnd:
        close(out);
        break;
    }
  }
}

std::string MessageStream::end(const Usage& usage) {
  std::string out;
  if (stopped_) {
    return out;
  }
  start(out);
  end_tools(out);
  close(out);
  if (index_ < 0) {
    open(out, Block::kText, R"({"type":"text","text":""})");
    close(out);
  }
  if (!told_stop_) {
    const AnthropicStop stop = anthropic_stop(
        meta_.call.request, finish_.value_or(FinishReason::kStop), tools_.any(), stop_sequence_);
    JsonWriter w;
    w.begin_object();
    w.field("type", "message_delta");
    w.key("delta");
    w.begin_object();
    w.field("stop_reason", stop.reason);
    if (stop.sequence.empty()) {
      w.field_null("stop_sequence");
    } else {
      w.field("stop_sequence", stop.sequence);
    }
    w.end_object();
    w.field_raw("usage", anthropic_usage_json(usage));
    w.end_object();
    out += event("message_delta", w.str());
  }
  out += event("message_stop", R"({"type":"message_stop"})");
  return out;
}

std::string MessageStream::cut(const Error&, std::string_view body) {
  return event("error", body);
}

}  // namespace

std::unique_ptr<StreamFormat> make_message_stream(const AnswerMeta& meta) {
  return std::make_unique<MessageStream>(meta);
}

}  // namespace genesis::server
