// Anthropic's messages (docs.anthropic.com/en/api/messages-streaming), TGI's generate and TEI's
// routes (huggingface/text-generation-inference, text-embeddings-inference: openapi.json), and
// /v1/embeddings.
#include "answer.h"
#include "base/json.h"

#include <array>
#include <bit>
#include <cstring>

namespace genesis::mock {

namespace {

// Every vector has so many numbers.
constexpr std::size_t kDimensions = 8;

std::string_view anthropic_reason(std::string_view finish) {
  return finish == "length"           ? "max_tokens"
         : finish == "tool_calls"     ? "tool_use"
         : finish == "content_filter" ? "refusal"
         : finish == "stop_sequence"  ? "stop_sequence"
                                      : "end_turn";
}

std::string tool_id(std::int64_t call) {
  return "toolu_mock" + std::to_string(call);
}

void write_anthropic_usage(JsonWriter& w, const AnswerUsage& usage, std::int64_t output) {
  w.key("usage");
  w.begin_object();
  w.field("input_tokens", usage.prompt - usage.cached - usage.cache_write);
  w.field("cache_creation_input_tokens", usage.cache_write);
  w.field("cache_read_input_tokens", usage.cached);
  w.field("output_tokens", output);
  w.end_object();
}

void begin_message(JsonWriter& w, const Ask& ask) {
  w.field("id", "msg_mock");
  w.field("type", "message");
  w.field("role", "assistant");
  w.field("model", ask.model);
}

void write_stop(JsonWriter& w, std::string_view finish) {
  w.field("stop_reason", anthropic_reason(finish));
  if (finish == "stop_sequence") {
    w.field("stop_sequence", "END");
  } else {
    w.field_null("stop_sequence");
  }
}

class AnthropicWriter final : public StreamWriter {
 public:
  AnthropicWriter(const Ask& ask, const AnswerUsage& usage) : ask_(ask), usage_(usage) {}

  std::vector<Event> begin() override {
    JsonWriter w;
    w.begin_object();
    w.field("type", "message_start");
    w.key("message");
    w.begin_object();
    begin_message(w, ask_);
    w.field_raw("content", "[]");
    w.field_null("stop_reason");
    w.field_null("stop_sequence");
    write_anthropic_usage(w, usage_, 1);
    w.end_object();
    w.end_object();
    return {{"message_start", w.take()}, {"ping", R"({"type": "ping"})"}};
  }

  std::vector<Event> piece(const Piece& piece) override {
    std::vector<Event> events;
    if (!open_ || piece.kind != kind_ || piece.begins) {
      close(events);
      start(events, piece);
    }
    JsonWriter w;
    w.begin_object();
    w.field("type", "content_block_delta");
    w.field("index", block_);
    w.key("delta");
    w.begin_object();
    const bool thinks = piece.kind == Piece::Kind::kThinking;
    const bool calls = piece.kind == Piece::Kind::kCall;
    w.field("type", thinks ? "thinking_delta" : calls ? "input_json_delta" : "text_delta");
    w.field(thinks ? "thinking" : calls ? "partial_json" : "text", piece.text);
    w.end_object();
    w.end_object();
    events.push_back({"content_block_delta", w.take()});
    return events;
  }

  std::vector<Event> finish(const Answer& answer) override {
    std::vector<Event> events;
    close(events);
    JsonWriter w;
    w.begin_object();
    w.field("type", "message_delta");
    w.key("delta");
    w.begin_object();
    write_stop(w, answer.finish);
    w.end_object();
    if (answer.tells_usage) {
      write_anthropic_usage(w, answer.usage, answer.usage.completion);
    }
    w.end_object();
    events.push_back({"message_delta", w.take()});
    return events;
  }

  Event done() override { return {"message_stop", R"({"type":"message_stop"})"}; }

 private:
  void start(std::vector<Event>& events, const Piece& piece) {
    JsonWriter w;
    w.begin_object();
    w.field("type", "content_block_start");
    w.field("index", ++block_);
    w.key("content_block");
    w.begin_object();
    if (piece.kind == Piece::Kind::kCall) {
      w.field("type", "tool_use");
      w.field("id", tool_id(piece.call));
      w.field("name", ask_.tool);
      w.field_raw("input", "{}");
    } else {
      const char* type = piece.kind == Piece::Kind::kThinking ? "thinking" : "text";
      w.field("type", type);
      w.field(type, "");
    }
    w.end_object();
    w.end_object();
    events.push_back({"content_block_start", w.take()});
    open_ = true;
    kind_ = piece.kind;
  }

  void close(std::vector<Event>& events) {
    if (!std::exchange(open_, false)) {
      return;
    }
    const std::string at = "\"index\":" + std::to_string(block_);
    if (kind_ == Piece::Kind::kThinking) {
      events.push_back({"content_block_delta",
                        R"({"type":"content_block_delta",)" + at +
                            R"(,"delta":{"type":"signature_delta","signature":"c2lnbmVk"}})"});
    }
    events.push_back({"content_block_stop", R"({"type":"content_block_stop",)" + at + "}"});
  }

  const Ask& ask_;
  AnswerUsage usage_;
  bool open_ = false;
  Piece::Kind kind_ = Piece::Kind::kText;
  std::int64_t block_ = -1;
};

// Token ids are made up, but the same for the same text.
std::int64_t token_id(std::string_view text) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  }
  return hash % 30'000 + 3;
}

void write_token(JsonWriter& w, std::string_view text, bool special) {
  w.begin_object();
  w.field("id", special ? std::int64_t{2} : token_id(text));
  w.field("text", text);
  w.field_number("logprob", special ? -0.125 : -0.5);
  w.field_bool("special", special);
  w.end_object();
}

std::string_view tgi_reason(std::string_view finish) {
  return finish == "length" || finish == "stop_sequence" ? finish : std::string_view("eos_token");
}

class TgiWriter final : public StreamWriter {
 public:
  explicit TgiWriter(const Ask& ask) : ask_(ask) {}

  std::vector<Event> begin() override { return {}; }

  std::vector<Event> piece(const Piece& piece) override {
    text_ += piece.text;
    JsonWriter w;
    w.begin_object();
    w.field("index", ++index_);
    w.key("token");
    write_token(w, piece.text, false);
    w.field_null("generated_text");
    w.field_null("details");
    w.end_object();
    return {{.name = {}, .data = w.take()}};
  }

  std::vector<Event> finish(const Answer& answer) override {
    JsonWriter w;
    w.begin_object();
    w.field("index", ++index_);
    w.key("token");
    write_token(w, "</s>", true);
    w.field("generated_text", text_);
    if (ask_.details && answer.tells_usage) {
      w.key("details");
      w.begin_object();
      w.field("finish_reason", tgi_reason(answer.finish));
      w.field("generated_tokens", answer.usage.completion);
      w.field_null("seed");
      w.field("input_length", answer.usage.prompt);
      w.end_object();
    } else {
      w.field_null("details");
    }
    w.end_object();
    return {{.name = {}, .data = w.take()}};
  }

  Event done() override { return {}; }

 private:
  const Ask& ask_;
  std::int64_t index_ = 0;
  std::string text_;
};

std::vector<float> vector_of(std::string_view text) {
  std::vector<float> vector;
  auto seed = static_cast<std::uint32_t>(token_id(text));
  for (std::size_t i = 0; i < kDimensions; ++i) {
    seed = seed * 1664525U + 1013904223U;  // Numerical Recipes' generator
    // Sixteenths, so that every form of writing them is exact.
    vector.push_back((static_cast<float>(seed >> 27U) - 16.0F) / 16.0F);
  }
  return vector;
}

std::string base64_of(const std::vector<float>& vector) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes(vector.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), vector.data(), bytes.size());
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kAlphabet[bits >> (18U - 6U * j) & 63U] : '=';
    }
  }
  return out;
}

void write_vector(JsonWriter& w, const std::vector<float>& vector) {
  w.begin_array();
  for (const float number : vector) {
    w.number(number);
  }
  w.end_array();
}

float score_of(std::string_view text) {
  return static_cast<float>(token_id(text) % 64) / 64.0F;
}

std::string whole_embeddings(const Ask& ask, const AnswerUsage& usage) {
  JsonWriter w;
  w.begin_object();
  w.field("object", "list");
  w.field("model", ask.model);
  w.key("data");
  w.begin_array();
  for (std::size_t i = 0; i < ask.texts.size(); ++i) {
    w.begin_object();
    w.field("object", "embedding");
    w.field("index", static_cast<std::int64_t>(i));
    w.key("embedding");
    if (ask.base64) {
      w.string(base64_of(vector_of(ask.texts[i])));
    } else {
      write_vector(w, vector_of(ask.texts[i]));
    }
    w.end_object();
  }
  w.end_array();
  w.key("usage");
  w.begin_object();
  w.field("prompt_tokens", usage.prompt);
  w.field("total_tokens", usage.prompt);
  w.end_object();
  w.end_object();
  return w.take();
}

void write_tei_entry(JsonWriter& w, Wire wire, std::string_view text, std::size_t index) {
  if (wire == Wire::kEmbed) {
    write_vector(w, vector_of(text));
  } else if (wire == Wire::kSimilarity) {
    w.number(score_of(text));
  } else if (wire == Wire::kRerank) {
    w.begin_object();
    w.field("index", static_cast<std::int64_t>(index));
    w.key("score");
    w.number(score_of(text));
    w.end_object();
  } else {
    w.begin_array();
    for (const auto& [label, score] :
         {std::pair{"yes", score_of(text)}, std::pair{"no", 1.0F - score_of(text)}}) {
      w.begin_object();
      w.field("label", label);
      w.key("score");
      w.number(score);
      w.end_object();
    }
    w.end_array();
  }
}

}  // namespace

std::unique_ptr<StreamWriter> make_anthropic_writer(const Ask& ask, const AnswerUsage& usage) {
  return std::make_unique<AnthropicWriter>(ask, usage);
}

std::unique_ptr<StreamWriter> make_tgi_writer(const Ask& ask) {
  return std::make_unique<TgiWriter>(ask);
}

std::string whole_anthropic(const Ask& ask, const Answer& answer) {
  JsonWriter w;
  w.begin_object();
  begin_message(w, ask);
  w.key("content");
  w.begin_array();
  for (std::size_t i = 0; i < answer.pieces.size();) {
    const Piece& first = answer.pieces[i];
    std::string text;
    do {
      text += answer.pieces[i++].text;
    } while (i < answer.pieces.size() && answer.pieces[i].kind == first.kind &&
             !answer.pieces[i].begins);
    w.begin_object();
    if (first.kind == Piece::Kind::kCall) {
      w.field("type", "tool_use");
      w.field("id", tool_id(first.call));
      w.field("name", ask.tool);
      w.field_raw("input", text);
    } else if (first.kind == Piece::Kind::kThinking) {
      w.field("type", "thinking");
      w.field("thinking", text);
      w.field("signature", "c2lnbmVk");
    } else {
      w.field("type", "text");
      w.field("text", text);
    }
    w.end_object();
  }
  w.end_array();
  write_stop(w, answer.finish);
  if (answer.tells_usage) {
    write_anthropic_usage(w, answer.usage, answer.usage.completion);
  }
  w.end_object();
  return w.take();
}

std::string whole_tgi(const Ask& ask, const Answer& answer) {
  std::string text;
  for (const Piece& piece : answer.pieces) {
    text += piece.text;
  }
  JsonWriter w;
  w.begin_object();
  w.field("generated_text", text);
  if (ask.details) {
    w.key("details");
    w.begin_object();
    w.field("finish_reason", tgi_reason(answer.finish));
    w.field("generated_tokens", answer.usage.completion);
    w.field_null("seed");
    w.field_raw("prefill", "[]");
    w.key("tokens");
    w.begin_array();
    for (const Piece& piece : answer.pieces) {
      write_token(w, piece.text, false);
    }
    w.end_array();
    w.end_object();
  }
  w.end_object();
  return w.take();
}

std::string whole_embed(const Ask& ask, const AnswerUsage& usage) {
  if (ask.wire == Wire::kEmbeddings) {
    return whole_embeddings(ask, usage);
  }
  JsonWriter w;
  w.begin_array();
  for (std::size_t i = 0; i < ask.texts.size(); ++i) {
    write_tei_entry(w, ask.wire, ask.texts[i], i);
  }
  w.end_array();
  return w.take();
}

}  // namespace genesis::mock
