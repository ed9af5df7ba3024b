#include "text/decoder_steps.h"

#include "text/byte_level.h"
#include "text/utf8_stream.h"

#include <array>
#include <charconv>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace genesis::text {

namespace {

// A step that starts one kind of state from its settings.
template <typename State, typename Settings>
class Step final : public DecodeStep {
 public:
  explicit Step(Settings settings) : settings_(std::move(settings)) {}

  std::unique_ptr<StepState> start() const override { return std::make_unique<State>(settings_); }

 private:
  Settings settings_;
};

struct Nothing {};

template <typename State, typename Settings = Nothing>
std::unique_ptr<const DecodeStep> step(Settings settings = {}) {
  return std::make_unique<Step<State, Settings>>(std::move(settings));
}

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  std::size_t done = 0;
  if (!what.empty()) {
    for (std::size_t at = text.find(what); at != std::string_view::npos;
         at = text.find(what, done)) {
      out.append(text.substr(done, at - done)).append(with);
      done = at + what.size();
    }
  }
  return out.append(text.substr(done));
}

// A step that must see a token whole.
class WholeTokens : public StepState {
 public:
  void text(std::string_view part, TokenSink&) override { token_ += part; }

  void end(TokenSink& out) override {
    const std::string token = std::exchange(token_, {});
    take(token, out);
  }

 private:
  virtual void take(const std::string& token, TokenSink& out) = 0;

  std::string token_;
};

class BpeState final : public WholeTokens {
 public:
  explicit BpeState(const std::string& suffix) : suffix_(suffix) {}

  void finish(TokenSink& out) override {
    if (last_) {
      out.token(replaced(*last_, suffix_, ""));
    }
  }

 private:
  void take(const std::string& token, TokenSink& out) override {
    if (last_) {
      out.token(replaced(*last_, suffix_, " "));
    }
    last_ = token;
  }

  const std::string& suffix_;
  std::optional<std::string> last_;  // the last of all is treated differently
};

// Byte tokens wait until the run of them ends: only then is it known whether it is text.
class ByteFallbackState final : public WholeTokens {
 public:
  explicit ByteFallbackState(Nothing) {}

  void finish(TokenSink& out) override { flush(out); }

 private:
  void take(const std::string& token, TokenSink& out) override {
    if (const auto byte = byte_of_token(token)) {
      run_.push_back(static_cast<char>(*byte));
      return;
    }
    flush(out);
    out.token(token);
  }

  void flush(TokenSink& out) {
    if (run_.empty()) {
      return;
    }
    const std::string run = std::exchange(run_, {});
    if (is_valid_utf8(run)) {
      out.token(run);
      return;
    }
    for (std::size_t i = 0; i < run.size(); ++i) {
      out.token("\xEF\xBF\xBD");
    }
  }

  std::string run_;
};

class ByteLevelState final : public WholeTokens {
 public:
  explicit ByteLevelState(Nothing) {}

  void finish(TokenSink& out) override {
    out.text(bytes_.flush());
    out.end();
  }

 private:
  void take(const std::string& token, TokenSink& out) override {
    out.text(bytes_.push(alphabet_.to_bytes(token).value_or(token)));
  }

  ByteAlphabet alphabet_;
  Utf8Stream bytes_;
};

// What English typography does not put a space before. Order: decoders/wordpiece.rs, cleanup.
std::string cleaned_up(std::string text) {
  constexpr std::array<std::array<std::string_view, 2>, 11> kRules = {{{" .", "."},
                                                                       {" ?", "?"},
                                                                       {" !", "!"},
                                                                       {" ,", ","},
                                                                       {" ' ", "'"},
                                                                       {" n't", "n't"},
                                                                       {" 'm", "'m"},
                                                                       {" do not", " don't"},
                                                                       {" 's", "'s"},
                                                                       {" 've", "'ve"},
                                                                       {" 're", "'re"}}};
  for (const auto& [what, with] : kRules) {
    text = replaced(text, what, with);
  }
  return text;
}

class CtcState final : public WholeTokens {
 public:
  explicit CtcState(const CtcOptions& options) : options_(options) {}

 private:
  void take(const std::string& token, TokenSink& out) override {
    if (last_ == token) {
      return;
    }
    last_ = token;
    std::string text = replaced(token, options_.pad_token, "");
    if (options_.cleanup) {
      text = replaced(cleaned_up(std::move(text)), options_.word_delimiter, " ");
    }
    if (!text.empty()) {
      out.token(text);
    }
  }

  const CtcOptions& options_;
  std::optional<std::string> last_;
};

class FuseState final : public StepState {
 public:
  explicit FuseState(Nothing) {}

  void text(std::string_view part, TokenSink& out) override { out.text(part); }

  void end(TokenSink&) override {}

  void finish(TokenSink& out) override { out.end(); }
};

class JoinState final : public StepState {
 public:
  explicit JoinState(Nothing) {}

  void text(std::string_view part, TokenSink& out) override {
    begin(out);
    out.text(part);
  }

  void end(TokenSink& out) override {
    begin(out);
    out.end();
    in_token_ = false;
    first_ = false;
  }

 private:
  void begin(TokenSink& out) {
    if (!in_token_ && !first_) {
      out.text(" ");
    }
    in_token_ = true;
  }

  bool first_ = true;
  bool in_token_ = false;
};

struct MetaspaceSettings {
  std::string replacement;
  bool strips;
};

class MetaspaceState final : public StepState {
 public:
  explicit MetaspaceState(const MetaspaceSettings& settings) : settings_(settings) {}

  void text(std::string_view part, TokenSink& out) override {
    out.text(replaced(part, settings_.replacement, first_ && settings_.strips ? "" : " "));
  }

  void end(TokenSink& out) override {
    out.end();
    first_ = false;
  }

 private:
  const MetaspaceSettings& settings_;
  bool first_ = true;
};

struct ReplaceSettings {
  Finder finder;
  std::string with;
};

class ReplacePatternState final : public WholeTokens {
 public:
  explicit ReplacePatternState(const ReplaceSettings& settings) : settings_(settings) {}

 private:
  void take(const std::string& token, TokenSink& out) override {
    std::vector<Match> matches;
    settings_.finder.find_all(token, matches);
    std::string text;
    std::size_t done = 0;
    for (const Match& match : matches) {
      text.append(token, done, match.begin - done).append(settings_.with);
      done = match.end;
    }
    out.token(text.append(token, done));
  }

  const ReplaceSettings& settings_;
};

// Holds back the end of a part only where a match may have begun.
class ReplaceTextState final : public StepState {
 public:
  explicit ReplaceTextState(const ReplaceSettings& settings) : settings_(settings) {}

  void text(std::string_view part, TokenSink& out) override {
    held_ += part;
    const std::string& what = *settings_.finder.plain();
    std::string text;
    std::size_t done = 0;
    for (std::size_t at = held_.find(what); at != std::string::npos; at = held_.find(what, done)) {
      text.append(held_, done, at - done).append(settings_.with);
      done = at + what.size();
    }
    std::size_t keep = std::min(what.size() - 1, held_.size() - done);
    while (keep > 0 && !held_.ends_with(std::string_view(what).substr(0, keep))) {
      --keep;
    }
    text.append(held_, done, held_.size() - done - keep);
    held_.erase(0, held_.size() - keep);
    out.text(text);
  }

  void end(TokenSink& out) override {
    out.text(std::exchange(held_, {}));
    out.end();
  }

 private:
  const ReplaceSettings& settings_;
  std::string held_;
};

class ReplaceStep final : public DecodeStep {
 public:
  explicit ReplaceStep(ReplaceSettings settings) : settings_(std::move(settings)) {}

  std::unique_ptr<StepState> start() const override {
    if (settings_.finder.plain() != nullptr) {
      return std::make_unique<ReplaceTextState>(settings_);
    }
    return std::make_unique<ReplacePatternState>(settings_);
  }

 private:
  ReplaceSettings settings_;
};

class StripState final : public StepState {
 public:
  explicit StripState(const StripOptions& options) : options_(options) {}

  void text(std::string_view part, TokenSink& out) override {
    std::string text;
    for (std::size_t at = 0; at < part.size();) {
      const CodePoint point = decode_valid(part, at);
      const std::string_view character = part.substr(at, point.bytes);
      at += point.bytes;
      const bool same = point.value == options_.content;
      if (same && in_front_ && cut_ < options_.start) {
        ++cut_;
        continue;
      }
      in_front_ = false;
      if (same && options_.stop > 0) {
        if (held_ == options_.stop) {
          text += character;
        } else {
          ++held_;
        }
        continue;
      }
      give_held(text);
      text += character;
    }
    out.text(text);
  }

  void end(TokenSink& out) override {
    out.end();
    in_front_ = true;
    cut_ = 0;
    held_ = 0;
  }

 private:
  void give_held(std::string& text) {
    for (; held_ > 0; --held_) {
      append_utf8(text, options_.content);
    }
  }

  const StripOptions& options_;
  bool in_front_ = true;
  std::size_t cut_ = 0;
  std::size_t held_ = 0;  // characters that may be the last of the token
};

struct WordPieceSettings {
  std::string prefix;
  bool cleanup;
};

class WordPieceState final : public WholeTokens {
 public:
  explicit WordPieceState(const WordPieceSettings& settings) : settings_(settings) {}

 private:
  void take(const std::string& token, TokenSink& out) override {
    std::string text = token;
    if (!first_) {
      text =
          token.starts_with(settings_.prefix) ? token.substr(settings_.prefix.size()) : " " + token;
    }
    first_ = false;
    out.token(settings_.cleanup ? cleaned_up(std::move(text)) : text);
  }

  const WordPieceSettings& settings_;
  bool first_ = true;
};

}  // namespace

std::unique_ptr<const DecodeStep> decode_bpe(std::string suffix) {
  return step<BpeState>(std::move(suffix));
}

std::unique_ptr<const DecodeStep> decode_byte_fallback() {
  return step<ByteFallbackState>();
}

std::unique_ptr<const DecodeStep> decode_byte_level() {
  return step<ByteLevelState>();
}

std::unique_ptr<const DecodeStep> decode_ctc(CtcOptions options) {
  return step<CtcState>(std::move(options));
}

std::unique_ptr<const DecodeStep> decode_fuse() {
  return step<FuseState>();
}

std::unique_ptr<const DecodeStep> decode_join() {
  return step<JoinState>();
}

std::unique_ptr<const DecodeStep> decode_metaspace(char32_t replacement, bool strips) {
  std::string text;
  append_utf8(text, replacement);
  return step<MetaspaceState>(MetaspaceSettings{std::move(text), strips});
}

std::unique_ptr<const DecodeStep> decode_replace(Finder finder, std::string with) {
  return std::make_unique<ReplaceStep>(ReplaceSettings{std::move(finder), std::move(with)});
}

std::unique_ptr<const DecodeStep> decode_strip(StripOptions options) {
  return step<StripState>(options);
}

std::unique_ptr<const DecodeStep> decode_word_piece(std::string prefix, bool cleanup) {
  return step<WordPieceState>(WordPieceSettings{std::move(prefix), cleanup});
}

}  // namespace genesis::text
