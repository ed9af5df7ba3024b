#include "server/response_output.h"

#include "net/sse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace genesis::server {

void ResponseOutput::event(std::string& out,
                           std::string_view type,
                           const std::function<void(JsonWriter&)>& fill) {
  JsonWriter w;
  w.begin_object();
  w.field("type", type);
  w.field("sequence_number", events_++);
  fill(w);
  w.end_object();
  out += fmt::format("event: {}\n", type);
  out += net::sse_frame(w.str());
}

std::string ResponseOutput::items_json() const {
  return fmt::format("[{}]", fmt::join(items_, ","));
}

std::string ResponseOutput::part_json() const {
  JsonWriter w;
  w.begin_object();
  if (kind_ == Kind::kReasoning) {
    w.field("type", "reasoning_text");
    w.field("text", text_);
  } else {
    w.field("type", "output_text");
    w.field("text", text_);
    w.field_raw("annotations", "[]");
    w.field_raw("logprobs", "[]");
  }
  w.end_object();
  return w.take();
}

std::string ResponseOutput::item_json(bool over) const {
  JsonWriter w;
  w.begin_object();
  w.field("id", id_);
  const auto content = [&] { return over ? fmt::format("[{}]", part_json()) : std::string("[]"); };
  switch (kind_) {
    case Kind::kReasoning:
      w.field("type", "reasoning");
      w.field_raw("summary", "[]");
      w.field_raw("content", content());
      break;
    case Kind::kCall:
      w.field("type", "function_call");
      w.field("call_id", call_id_);
      w.field("name", name_);
      w.field("arguments", text_);
      break;
    case Kind::kMessage:
    case Kind::kNone:
      w.field("type", "message");
      w.field("role", "assistant");
      w.field_raw("content", content());
      break;
  }
  w.field("status", over ? "completed" : "in_progress");
  w.end_object();
  return w.take();
}

void ResponseOutput::open(std::string& out, Kind kind) {
  close(out);
  kind_ = kind;
  text_.clear();
  const std::string_view prefix = kind == Kind::kReasoning ? "rs"
                                  : kind == Kind::kCall    ? "fc"
                                                           : "msg";
  id_ = fmt::format("{}_{}_{}", prefix, serial_, index());
  event(out, "response.output_item.added", [&](JsonWriter& w) {
    w.field("output_index", index());
    w.field_raw("item", item_json(false));
  });
  if (kind != Kind::kCall) {
    event(out, "response.content_part.added", [&](JsonWriter& w) {
      w.field("item_id", id_);
      w.field("output_index", index());
      w.field("content_index", std::int64_t{0});
      w.field_raw("part", part_json());
    });
  }
}

void ResponseOutput::close_text(std::string& out) {
  const bool message = kind_ == Kind::kMessage;
  const auto place = [&](JsonWriter& w) {
    w.field("item_id", id_);
    w.field("output_index", index());
    w.field("content_index", std::int64_t{0});
  };
  event(out,
        message ? "response.output_text.done" : "response.reasoning_text.done",
        [&](JsonWriter& w) {
          place(w);
          w.field("text", text_);
          if (message) {
            w.field_raw("logprobs", "[]");
          }
        });
  event(out, "response.content_part.done", [&](JsonWriter& w) {
    place(w);
    w.field_raw("part", part_json());
  });
}

void ResponseOutput::close(std::string& out) {
  if (kind_ == Kind::kNone) {
    return;
  }
  if (kind_ == Kind::kCall) {
    event(out, "response.function_call_arguments.done", [&](JsonWriter& w) {
      w.field("item_id", id_);
      w.field("output_index", index());
      w.field("name", name_);
      w.field("arguments", text_);
    });
  } else {
    close_text(out);
  }
  std::string item = item_json(true);
  event(out, "response.output_item.done", [&](JsonWriter& w) {
    w.field("output_index", index());
    w.field_raw("item", item);
  });
  items_.push_back(std::move(item));
  kind_ = Kind::kNone;
}

void ResponseOutput::reasoning(std::string& out, std::string_view text) {
  pieces(out, sequencer_.finish());
  if (kind_ != Kind::kReasoning) {
    open(out, Kind::kReasoning);
  }
  text_ += text;
  event(out, "response.reasoning_text.delta", [&](JsonWriter& w) {
    w.field("item_id", id_);
    w.field("output_index", index());
    w.field("content_index", std::int64_t{0});
    w.field("delta", text);
  });
}

void ResponseOutput::text(std::string& out, std::string_view text) {
  pieces(out, sequencer_.finish());
  if (kind_ != Kind::kMessage) {
    open(out, Kind::kMessage);
  }
  text_ += text;
  event(out, "response.output_text.delta", [&](JsonWriter& w) {
    w.field("item_id", id_);
    w.field("output_index", index());
    w.field("content_index", std::int64_t{0});
    w.field("delta", text);
    w.field_raw("logprobs", "[]");
  });
}

Result<void> ResponseOutput::tools(std::string& out, std::string_view deltas_json) {
  GENESIS_TRY(const auto list, sequencer_.add(deltas_json));
  pieces(out, list);
  return {};
}

void ResponseOutput::pieces(std::string& out, const std::vector<ToolPiece>& list) {
  for (const ToolPiece& piece : list) {
    switch (piece.kind) {
      case ToolPiece::Kind::kBegin:
        call_id_ = piece.id.empty() ? fmt::format("call_{}_{}", serial_, piece.call) : piece.id;
        name_ = piece.name;
        open(out, Kind::kCall);
        break;
      case ToolPiece::Kind::kArguments:
        text_ += piece.arguments;
        event(out, "response.function_call_arguments.delta", [&](JsonWriter& w) {
          w.field("item_id", id_);
          w.field("output_index", index());
          w.field("delta", piece.arguments);
        });
        break;
      case ToolPiece::Kind::kEnd:
        close(out);
        break;
    }
  }
}

void ResponseOutput::finish(std::string& out) {
  pieces(out, sequencer_.finish());
  close(out);
}

}  // namespace genesis::server
