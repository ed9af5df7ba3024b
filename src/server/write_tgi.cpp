#include "server/write_tgi.h"

#include "base/json.h"
#include "net/sse.h"

#include <algorithm>
#include <cmath>

namespace genesis::server {

namespace {

std::string_view tgi_finish(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kStopSequence:
      return "stop_sequence";
    case FinishReason::kStop:
    case FinishReason::kToolCalls:
    case FinishReason::kContentFilter:
      return "eos_token";
  }
  return "eos_token";
}

// TGI's schema has a number here always.
float finite_logprob(float logprob) {
  return std::isfinite(logprob) ? logprob : -9999.0F;
}

void write_token(JsonWriter& w, const TokenInfo& token) {
  w.begin_object();
  w.field("id", static_cast<std::int64_t>(token.id));
  w.field("text", token.text);
  w.key("logprob");
  w.number(finite_logprob(token.logprob));
  w.field_bool("special", token.special);
  w.end_object();
}

void write_top(JsonWriter& w, const TokenInfo& token) {
  w.begin_array();
  for (const TokenAlternative& other : token.top) {
    write_token(w, {.id = other.id, .text = other.text, .logprob = other.logprob});
  }
  w.end_array();
}

void write_prefill(JsonWriter& w, const std::vector<TokenInfo>& tokens) {
  w.begin_array();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    w.begin_object();
    w.field("id", static_cast<std::int64_t>(tokens[i].id));
    w.field("text", tokens[i].text);
    w.key("logprob");
    if (i == 0) {
      w.null();  // nothing comes before the first token
    } else {
      w.number(finite_logprob(tokens[i].logprob));
    }
    w.end_object();
  }
  w.end_array();
}

void write_ending(JsonWriter& w,
                  const InferenceCall& call,
                  FinishReason finish,
                  const Usage& usage) {
  w.field("finish_reason", tgi_finish(finish));
  w.field("generated_tokens", usage.output);
  w.key("seed");
  const auto& seed = call.request.sampling.seed;
  if (call.wire.sampled && seed) {
    w.raw(std::to_string(*seed));
  } else {
    w.null();
  }
}

std::string_view shown_prompt(const InferenceCall& call) {
  return call.wire.return_full_text ? std::string_view(call.request.input->prompt)
                                    : std::string_view();
}

void write_details(JsonWriter& w,
                   const InferenceCall& call,
                   const CollectedChoice& choice,
                   const Usage& usage) {
  w.begin_object();
  write_ending(w, call, choice.finish.value_or(FinishReason::kStop), usage);
  w.key("prefill");
  write_prefill(w, choice.prompt_tokens);
  w.key("tokens");
  w.begin_array();
  for (const TokenInfo& token : choice.tokens) {
    write_token(w, token);
  }
  w.end_array();
  if (call.request.sampling.top_logprobs > 0) {
    w.key("top_tokens");
    w.begin_array();
    for (const TokenInfo& token : choice.tokens) {
      write_top(w, token);
    }
    w.end_array();
  }
  w.end_object();
}

class TgiStream final : public StreamFormat {
 public:
  explicit TgiStream(const AnswerMeta& meta) : meta_(meta) {}

  void begin(const ServedBy&) override { text_ = shown_prompt(meta_.call); }

  Result<std::string> delta(const ChatDelta& delta) override {
    text_ += delta.text;
    if (text_.size() > kMaxAnswerBytes) {
      return fail(ErrorCode::kUpstream, "the answer is larger than the server holds in memory");
    }
    if (!delta.raw.empty() && says_all(delta)) {
      ended_ = delta.finish.has_value();
      ++index_;
      return net::sse_frame(delta.raw);
    }
    std::vector<TokenInfo> tokens = tgi_tokens(delta);
    if (delta.finish) {
      finish_ = *delta.finish;
      last_ = TokenInfo{.special = true};
      if (!tokens.empty()) {
        last_ = std::move(tokens.back());
        tokens.pop_back();
      }
    }
    std::string out;
    for (const TokenInfo& token : tokens) {
      append_event(out, token, nullptr);
    }
    return out;
  }

  std::string end(const Usage& usage) override {
    std::string out;
    if (ended_) {
      return out;
    }
    append_event(out, last_, &usage);
    return out;
  }

 private:
  // An upstream may end without the details that were asked for; then they are ours to write.
  bool says_all(const ChatDelta& delta) const {
    if (!delta.finish || !meta_.call.wire.details) {
      return true;
    }
    const auto members = scan_members(delta.raw);
    return members && std::ranges::any_of(*members, [](const JsonMember& member) {
             return member.key == "details" && member.value.starts_with('{');
           });
  }

  // `usage` only for the event that ends the answer.
  void append_event(std::string& out, const TokenInfo& token, const Usage* usage) {
    JsonWriter w;
    w.begin_object();
    w.field("index", ++index_);
    w.key("token");
    write_token(w, token);
    if (meta_.call.request.sampling.top_logprobs > 0) {
      w.key("top_tokens");
      write_top(w, token);
    }
    w.key("generated_text");
    if (usage == nullptr) {
      w.null();
    } else {
      w.string(text_);
    }
    w.key("details");
    if (usage == nullptr || !meta_.call.wire.details) {
      w.null();
    } else {
      w.begin_object();
      write_ending(w, meta_.call, finish_, *usage);
      w.field("input_length", usage->input);
      w.end_object();
    }
    w.end_object();
    out += "data: " + w.str() + "\n\n";
  }

  const AnswerMeta& meta_;
  std::int64_t index_ = 0;
  std::string text_;
  TokenInfo last_;
  bool ended_ = false;  // by the upstream's own event
  FinishReason finish_ = FinishReason::kStop;
};

}  // namespace

std::vector<TokenInfo> tgi_tokens(const ChatDelta& delta) {
  std::vector<TokenInfo> tokens = delta.tokens;
  if (tokens.empty()) {
    if (!delta.text.empty()) {
      tokens.push_back(TokenInfo{.text = delta.text});
    }
    return tokens;
  }
  if (tokens.size() == 1 && delta.text.empty()) {
    // An upstream cannot say "special"; a token that ends the answer without showing is the end
    // token.
    TokenInfo& only = tokens.front();
    only.special = only.special || delta.finish == FinishReason::kStop;
    if (only.special) {
      return tokens;
    }
  }
  std::string joined;
  for (const TokenInfo& token : tokens) {
    joined += token.special ? "" : token.text;
  }
  if (joined == delta.text) {
    return tokens;
  }
  // Held back or split characters: the text goes to the last token, which made it visible.
  for (TokenInfo& token : tokens) {
    token.text.clear();
  }
  tokens.back().text = delta.text;
  tokens.back().special = false;
  return tokens;
}

std::string tgi_body(const AnswerMeta& meta, const CollectedAnswer& answer, const Usage& usage) {
  if (auto own = answer.native_body()) {
    return *std::move(own);
  }
  const CollectedChoice& choice = answer.choices().front();
  JsonWriter w;
  w.begin_object();
  w.field("generated_text", std::string(shown_prompt(meta.call)) + choice.text);
  if (meta.call.wire.details) {
    w.key("details");
    write_details(w, meta.call, choice, usage);
  }
  w.end_object();
  return w.take();
}

std::unique_ptr<StreamFormat> make_tgi_stream(const AnswerMeta& meta) {
  return std::make_unique<TgiStream>(meta);
}

}  // namespace genesis::server
