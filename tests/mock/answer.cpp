// What all dialects share, and OpenAI's chat and completion payloads
// (platform.openai.com/docs/api-reference).
#include "answer.h"

#include "base/json.h"

#include <array>

namespace genesis::mock {

namespace {

constexpr std::int64_t kCreated = 1'700'000'000;

void begin_object(JsonWriter& w, const Ask& ask, bool chunk) {
  const bool chat = ask.wire == Wire::kChat;
  w.begin_object();
  w.field("id", chat ? "chatcmpl-mock" : "cmpl-mock");
  w.field("object",
          chat ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion");
  w.field("created", kCreated);
  w.field("model", ask.model);
  w.key("choices");
  w.begin_array();
}

void write_usage(JsonWriter& w, const AnswerUsage& usage) {
  w.key("usage");
  w.begin_object();
  w.field("prompt_tokens", usage.prompt);
  w.field("completion_tokens", usage.completion);
  w.field("total_tokens", usage.prompt + usage.completion);
  if (usage.cached > 0) {
    w.key("prompt_tokens_details");
    w.begin_object();
    w.field("cached_tokens", usage.cached);
    w.end_object();
  }
  if (usage.reasoning > 0) {
    w.key("completion_tokens_details");
    w.begin_object();
    w.field("reasoning_tokens", usage.reasoning);
    w.end_object();
  }
  w.end_object();
}

void begin_choice(JsonWriter& w) {
  w.begin_object();
  w.field("index", std::int64_t{0});
}

void end_choice(JsonWriter& w, std::string_view finish) {
  if (finish.empty()) {
    w.field_null("finish_reason");
  } else {
    w.field("finish_reason", finish);
  }
  w.end_object();
  w.end_array();
}

std::string call_id(std::int64_t call) {
  return "call_mock" + std::to_string(call);
}

class OpenAiWriter final : public StreamWriter {
 public:
  explicit OpenAiWriter(const Ask& ask) : ask_(ask) {}

  std::vector<Event> begin() override { return {}; }

  std::vector<Event> piece(const Piece& piece) override {
    JsonWriter w;
    begin_object(w, ask_, true);
    begin_choice(w);
    if (ask_.wire == Wire::kChat) {
      w.key("delta");
      w.begin_object();
      if (first_) {
        w.field("role", "assistant");
      }
      write_delta(w, piece);
      w.end_object();
    } else {
      w.field("text", piece.text);
    }
    first_ = false;
    end_choice(w, "");
    w.end_object();
    return {{.name = {}, .data = w.take()}};
  }

  std::vector<Event> finish(const Answer& answer) override {
    JsonWriter w;
    begin_object(w, ask_, true);
    begin_choice(w);
    if (ask_.wire == Wire::kChat) {
      w.key("delta");
      w.begin_object();
      w.end_object();
    } else {
      w.field("text", "");
    }
    end_choice(w, answer.finish);
    w.end_object();
    std::vector<Event> events{{.name = {}, .data = w.take()}};
    if (ask_.include_usage && answer.tells_usage) {
      JsonWriter usage;
      begin_object(usage, ask_, true);
      usage.end_array();
      write_usage(usage, answer.usage);
      usage.end_object();
      events.push_back({.name = {}, .data = usage.take()});
    }
    return events;
  }

  Event done() override { return {.name = {}, .data = "[DONE]"}; }

 private:
  void write_delta(JsonWriter& w, const Piece& piece) const {
    if (piece.kind == Piece::Kind::kText) {
      w.field("content", piece.text);
      return;
    }
    if (piece.kind == Piece::Kind::kThinking) {
      w.field("reasoning_content", piece.text);
      return;
    }
    w.key("tool_calls");
    w.begin_array();
    w.begin_object();
    w.field("index", piece.call);
    if (piece.begins) {
      w.field("id", call_id(piece.call));
      w.field("type", "function");
    }
    w.key("function");
    w.begin_object();
    if (piece.begins) {
      w.field("name", ask_.tool);
    }
    w.field("arguments", piece.text);
    w.end_object();
    w.end_object();
    w.end_array();
  }

  const Ask& ask_;
  bool first_ = true;
};

std::string text_of(const Answer& answer, Piece::Kind kind) {
  std::string text;
  for (const Piece& piece : answer.pieces) {
    text += piece.kind == kind ? piece.text : "";
  }
  return text;
}

void write_calls(JsonWriter& w, const Ask& ask, const Answer& answer) {
  bool open = false;
  std::string arguments;
  const auto close = [&] {
    if (open) {
      w.field("arguments", arguments);
      w.end_object();
      w.end_object();
    }
    arguments.clear();
  };
  w.key("tool_calls");
  w.begin_array();
  for (const Piece& piece : answer.pieces) {
    if (piece.kind != Piece::Kind::kCall) {
      continue;
    }
    if (piece.begins) {
      close();
      open = true;
      w.begin_object();
      w.field("id", call_id(piece.call));
      w.field("type", "function");
      w.key("function");
      w.begin_object();
      w.field("name", ask.tool);
    }
    arguments += piece.text;
  }
  close();
  w.end_array();
}

struct ErrorWords {
  std::string_view openai;
  std::string_view anthropic;
  std::string_view tgi;
};

ErrorWords error_words(int status) {
  switch (status) {
    case 401:
      return {"invalid_request_error", "authentication_error", "unauthorized"};
    case 404:
      return {"invalid_request_error", "not_found_error", "validation"};
    case 429:
      return {"requests", "rate_limit_error", "overloaded"};
    case 529:
      return {"server_error", "overloaded_error", "overloaded"};
    default:
      break;
  }
  return status < 500 ? ErrorWords{"invalid_request_error", "invalid_request_error", "validation"}
                      : ErrorWords{"server_error", "api_error", "generation"};
}

}  // namespace

std::vector<std::string> answer_tokens(std::int64_t words) {
  constexpr std::array kWords = {"The",
                                 "na\xC3\xAFve",
                                 "fleet",
                                 "answered",
                                 "every",
                                 "call",
                                 "\xE6\x97\xA5\xE6\x9C\xAC",
                                 "before",
                                 "noon",
                                 "\xF0\x9F\x9A\x80"};
  std::vector<std::string> tokens;
  for (std::int64_t i = 0; i < words; ++i) {
    const std::string word = kWords[static_cast<std::size_t>(i) % kWords.size()];
    tokens.push_back((i == 0 ? "" : " ") + word + std::to_string(i));
  }
  return tokens;
}

std::unique_ptr<StreamWriter> make_openai_writer(const Ask& ask) {
  return std::make_unique<OpenAiWriter>(ask);
}

std::unique_ptr<StreamWriter> make_stream_writer(const Ask& ask, const AnswerUsage& usage) {
  switch (ask.wire) {
    case Wire::kMessages:
      return make_anthropic_writer(ask, usage);
    case Wire::kGenerate:
      return make_tgi_writer(ask);
    default:
      return make_openai_writer(ask);
  }
}

std::string whole_openai(const Ask& ask, const Answer& answer) {
  JsonWriter w;
  begin_object(w, ask, false);
  begin_choice(w);
  if (ask.wire == Wire::kChat) {
    w.key("message");
    w.begin_object();
    w.field("role", "assistant");
    w.field("content", text_of(answer, Piece::Kind::kText));
    if (const auto thinking = text_of(answer, Piece::Kind::kThinking); !thinking.empty()) {
      w.field("reasoning_content", thinking);
    }
    if (answer.finish == "tool_calls") {
      write_calls(w, ask, answer);
    }
    w.end_object();
  } else {
    w.field("text", text_of(answer, Piece::Kind::kText));
  }
  end_choice(w, answer.finish);
  if (answer.tells_usage) {
    write_usage(w, answer.usage);
  }
  w.end_object();
  return w.take();
}

std::string whole_answer(const Ask& ask, const Answer& answer) {
  switch (ask.wire) {
    case Wire::kChat:
    case Wire::kCompletion:
      return whole_openai(ask, answer);
    case Wire::kMessages:
      return whole_anthropic(ask, answer);
    case Wire::kGenerate:
      return whole_tgi(ask, answer);
    default:
      return whole_embed(ask, answer.usage);
  }
}

std::string error_object(Wire wire, int status, std::string_view message, std::string_view code) {
  const ErrorWords words = error_words(status);
  JsonWriter w;
  w.begin_object();
  if (wire == Wire::kGenerate || wire >= Wire::kEmbed) {
    w.field("error", message);
    w.field("error_type", words.tgi);
    w.end_object();
    return w.take();
  }
  if (wire == Wire::kMessages) {
    w.field("type", "error");
  }
  w.key("error");
  w.begin_object();
  if (wire == Wire::kMessages) {
    w.field("type", words.anthropic);
    // Anthropic has no codes: what a code means stands in the sentence.
    w.field(
        "message",
        code == "context_length_exceeded" ? "prompt is too long: 9 tokens > 8 maximum" : message);
  } else {
    w.field("message", message);
    w.field("type", words.openai);
    w.field_null("param");
    if (code.empty()) {
      w.field_null("code");
    } else {
      w.field("code", code);
    }
  }
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace genesis::mock
