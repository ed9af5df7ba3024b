// The two OpenAI event streams. Per token only strings are appended: prefix, index, delta, suffix.
#include "base/json.h"
#include "server/write_openai.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace genesis::server {

namespace {

constexpr std::string_view kDone = "data: [DONE]\n\n";

// `data: {head,"choices":[{"index":` ... `}],"usage":null}\n\n`
struct FrameParts {
  std::string prefix;
  std::string suffix;
  std::string usage_prefix;  // of the last chunk, which has no choices
};

FrameParts frame_parts(const AnswerMeta& meta, const ServedBy& served, std::string_view object) {
  JsonWriter w;
  w.begin_object();
  w.field("id", meta.id);
  w.field("object", object);
  w.field("created", meta.created);
  w.field("model", served.model);
  w.field("system_fingerprint", meta.fingerprint);
  FrameParts parts;
  parts.prefix = "data: " + w.str() + ",\"choices\":[{\"index\":";
  parts.suffix = meta.call.wire.include_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
  parts.usage_prefix = "data: " + w.str() + ",\"choices\":[],\"usage\":";
  return parts;
}

// Raw JSON from elsewhere may hold line breaks between its tokens, which would end an SSE line.
std::string one_line(std::string_view raw) {
  std::string line(raw);
  std::ranges::replace_if(line, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

std::string end_frames(const FrameParts& parts,
                       const AnswerMeta& meta,
                       const OpenAiRawStream& raw,
                       const Usage& usage) {
  std::string out;
  if (meta.call.wire.include_usage && !raw.told_usage()) {
    // The last chunk has the id of those before it, whoever wrote them.
    out = raw.head().empty() ? parts.usage_prefix
                             : "data: " + raw.head() + ",\"choices\":[],\"usage\":";
    out += usage_json(usage) + "}\n\n";
  }
  out += kDone;
  return out;
}

void append_finish(std::string& out, std::optional<FinishReason> finish) {
  if (!finish) {
    out += ",\"finish_reason\":null";
    return;
  }
  out += ",\"finish_reason\":\"";
  out += openai_finish(*finish);
  out += '"';
  if (*finish == FinishReason::kStopSequence) {
    out += ",\"stop_reason\":\"stop_sequence\"";
  }
}

class ChatStream final : public StreamFormat {
 public:
  explicit ChatStream(const AnswerMeta& meta)
      : meta_(meta),
        greeted_(static_cast<std::size_t>(meta.call.request.n), false),
        raw_(meta.call.wire.include_usage) {}

  void begin(const ServedBy& served) override {
    parts_ = frame_parts(meta_, served, "chat.completion.chunk");
  }

  Result<std::string> delta(const ChatDelta& delta) override {
    std::string out;
    const auto at = static_cast<std::size_t>(delta.index);
    if (!delta.raw.empty()) {
      if (auto frame = raw_.frame(delta.raw)) {
        greeted_[at] = true;
        return *std::move(frame);
      }
    }
    if (!greeted_[at]) {
      greeted_[at] = true;
      append_frame(out, delta, {.body = R"("role":"assistant","content":"")"});
    }
    const bool has_body =
        !delta.text.empty() || !delta.reasoning.empty() || !delta.tool_calls_json.empty();
    const bool has_tokens = wants_tokens() && !delta.tokens.empty();
    if (has_body || (has_tokens && !delta.finish)) {
      append_frame(out, delta, {.body = body_of(delta), .tokens = true});
    }
    if (delta.finish) {
      append_frame(out, delta, {.body = "", .tokens = !has_body, .finish = delta.finish});
    }
    return out;
  }

  std::string end(const Usage& usage) override { return end_frames(parts_, meta_, raw_, usage); }

 private:
  struct Frame {
    std::string_view body;
    bool tokens = false;  // carries the delta's logprobs and ids
    std::optional<FinishReason> finish;
  };

  bool wants_tokens() const {
    return meta_.call.request.sampling.want_logprobs || meta_.call.wire.return_token_ids;
  }

  static std::string body_of(const ChatDelta& delta) {
    std::string body;
    if (!delta.text.empty() || (delta.reasoning.empty() && delta.tool_calls_json.empty())) {
      body += "\"content\":";
      append_json_string(body, delta.text);
    }
    if (!delta.reasoning.empty()) {
      body += body.empty() ? "\"reasoning_content\":" : ",\"reasoning_content\":";
      append_json_string(body, delta.reasoning);
      body += ",\"reasoning\":";
      append_json_string(body, delta.reasoning);
    }
    if (!delta.tool_calls_json.empty()) {
      body += body.empty() ? "\"tool_calls\":" : ",\"tool_calls\":";
      body += one_line(delta.tool_calls_json);
    }
    return body;
  }

  void append_frame(std::string& out, const ChatDelta& delta, const Frame& frame) {
    out += parts_.prefix;
    out += fmt::format_int(delta.index).c_str();
    out += ",\"delta\":{";
    out += frame.body;
    out += "},\"logprobs\":";
    const bool with_tokens = frame.tokens && !delta.tokens.empty();
    if (with_tokens && meta_.call.request.sampling.want_logprobs) {
      out += chat_logprobs_json(delta.tokens);
    } else {
      out += "null";
    }
    append_finish(out, frame.finish);
    if (with_tokens && meta_.call.wire.return_token_ids) {
      out += ",\"token_ids\":" + token_ids_json(delta.tokens);
    }
    out += '}';
    out += parts_.suffix;
  }

  const AnswerMeta& meta_;
  std::vector<bool> greeted_;  // choices whose role has been told
  FrameParts parts_;
  OpenAiRawStream raw_;
};

class CompletionStream final : public StreamFormat {
 public:
  explicit CompletionStream(const AnswerMeta& meta)
      : meta_(meta),
        logprobs_(static_cast<std::size_t>(meta.call.request.n),
                  CompletionLogprobs(meta.call.request.sampling.top_logprobs)),
        raw_(meta.call.wire.include_usage) {}

  void begin(const ServedBy& served) override {
    parts_ = frame_parts(meta_, served, "text_completion");
  }

  Result<std::string> delta(const ChatDelta& delta) override {
    const bool want_logprobs = meta_.call.request.sampling.want_logprobs;
    const bool want_ids = meta_.call.wire.return_token_ids;
    const bool has_tokens = !delta.tokens.empty() || !delta.prompt_tokens.empty();
    std::string out;
    if (!delta.raw.empty()) {
      if (auto frame = raw_.frame(delta.raw)) {
        return *std::move(frame);
      }
    }
    if (delta.text.empty() && !delta.finish && !(has_tokens && (want_logprobs || want_ids))) {
      return out;
    }
    out += parts_.prefix;
    out += fmt::format_int(delta.index).c_str();
    out += ",\"text\":";
    append_json_string(out, delta.text);
    out += ",\"logprobs\":";
    if (want_logprobs && has_tokens) {
      auto& logprobs = logprobs_[static_cast<std::size_t>(delta.index)];
      out += logprobs.json(delta.prompt_tokens, delta.tokens);
    } else {
      out += "null";
    }
    append_finish(out, delta.finish);
    if (want_ids && !delta.prompt_tokens.empty()) {
      out += ",\"prompt_token_ids\":" + token_ids_json(delta.prompt_tokens);
    }
    if (want_ids && !delta.tokens.empty()) {
      out += ",\"token_ids\":" + token_ids_json(delta.tokens);
    }
    out += '}';
    out += parts_.suffix;
    return out;
  }

  std::string end(const Usage& usage) override { return end_frames(parts_, meta_, raw_, usage); }

 private:
  const AnswerMeta& meta_;
  std::vector<CompletionLogprobs> logprobs_;
  FrameParts parts_;
  OpenAiRawStream raw_;
};

}  // namespace

std::unique_ptr<StreamFormat> make_chat_stream(const AnswerMeta& meta) {
  return std::make_unique<ChatStream>(meta);
}

std::unique_ptr<StreamFormat> make_completion_stream(const AnswerMeta& meta) {
  return std::make_unique<CompletionStream>(meta);
}

}  // namespace genesis::server
