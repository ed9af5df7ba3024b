// Tokenizer: text <-> token ids, run from data (a tokenizer.json document or the vocabulary inside
// a GGUF file), never from code written for one model. Immutable after loading; safe from any
// thread.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// The vocabulary as GGUF metadata holds it (keys tokenizer.ggml.*), already read by `weights`.
struct GgufVocabulary {
  std::string model;  // "gpt2", "llama", "gemma", "bert" or "t5"
  std::string pre;    // name of the pre-tokenizer, e.g. "smollm", "llama-bpe", "qwen2"
  std::vector<std::string> tokens;
  std::vector<std::int32_t>
      token_types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;  // "left right"
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> eos_id;
  std::optional<std::int32_t> eot_id;
  std::optional<std::int32_t> unknown_id;
  std::optional<std::int32_t> padding_id;
  bool add_bos = false;
  bool add_eos = false;
  // Models "llama" (sentencepiece BPE) and "t5" (unigram).
  std::vector<float> scores;
  bool add_space_prefix = true;
  bool remove_extra_whitespaces = false;
  std::string precompiled_charsmap;
};

// What a tokenizer.model file leaves to tokenizer_config.json.
struct SentencePieceOptions {
  bool add_bos = true;
  bool add_eos = false;
};

// A half-open byte range of the input in which special tokens are plain text: what users typed.
struct PlainSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct EncodeOptions {
  bool add_special_tokens = true;  // run the post-processor (BOS, EOS as the model declares)
  bool parse_special = true;       // recognise special tokens written in the text
  std::span<const PlainSpan> plain_spans = {};  // sorted, disjoint; exempt from parse_special
};

// Which part of the input a token stands for: a half-open range of code points.
struct TokenOffsets {
  std::size_t begin = 0;
  std::size_t end = 0;

  bool operator==(const TokenOffsets&) const = default;
};

struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<TokenOffsets> offsets;  // of each id; {0, 0} for tokens that are not in the text
};

// Decoding of one answer, id by id. The concatenation of all text returned equals
// Tokenizer::decode of all ids. Must not outlive its tokenizer; not thread-safe.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  // The text that is certain now: whole characters.
  virtual std::string push(std::int32_t id) = 0;
  virtual std::string flush() = 0;
};

class Tokenizer {
 public:
  // All refuse what they cannot run exactly, naming the component (kUnsupported), and treat their
  // input as hostile. Blocks "truncation" and "padding" of a tokenizer.json are not applied: what
  // is too long is the engine's business. `model` of from_sentencepiece is a tokenizer.model file.
  static Result<std::shared_ptr<const Tokenizer>> from_tokenizer_json(std::string_view json);
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufVocabulary& vocabulary);
  static Result<std::shared_ptr<const Tokenizer>> from_sentencepiece(
      std::string_view model, SentencePieceOptions options = {});

  virtual ~Tokenizer() = default;

  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           const EncodeOptions& options = {}) const = 0;
  // The same with the place of every token in `text`; several times slower. Of a tokenizer that
  // does not know places (a wrapper's default) all offsets are {0, 0}.
  virtual Encoding encode_with_offsets(std::string_view text,
                                       const EncodeOptions& options = {}) const;
  // As the `tokenizers` package decodes, invalid UTF-8 replaced by U+FFFD.
  virtual std::string decode(std::span<const std::int32_t> ids, bool skip_special) const = 0;
  // A decode() that takes ids one by one. The default knows token_bytes() only.
  virtual std::unique_ptr<DecodeStream> stream(bool skip_special) const;
  // The bytes one token stands for between others (possibly half a character): sentencepiece's mark
  // is a space, a byte token its byte. Empty for an unknown id.
  virtual std::string token_bytes(std::int32_t id) const = 0;
  virtual bool is_special(std::int32_t id) const = 0;
  virtual std::int32_t vocab_size() const = 0;  // highest id + 1, added tokens included
  virtual std::optional<std::int32_t> token_id(std::string_view token) const = 0;
  virtual std::optional<std::int32_t> bos_id() const = 0;
  // Ids that end a generation (EOS, end of turn).
  virtual std::span<const std::int32_t> end_ids() const = 0;
};

// Incremental detokenizer of one choice: feed ids as they come, get text that is always whole UTF-8
// characters. The concatenation of all pieces and flush() equals Tokenizer::decode of all ids.
class Detokenizer {
 public:
  Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special);

  std::string push(std::int32_t id) { return stream_->push(id); }

  // What is still held back, as U+FFFD where it never became a character.
  std::string flush() { return stream_->flush(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<DecodeStream> stream_;
};

// Finds stop strings in a stream of text pieces, also across pieces. Text that could be the
// beginning of a stop string is held back until that is decided. The stop string that is complete
// first wins, so the outcome does not depend on how the text is cut into pieces. After a stop all
// further text is dropped. Empty stop strings are ignored.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops, bool include_stop = false);

  struct Output {
    std::string text;      // safe to send now
    bool stopped = false;  // a stop string was found; text ends before it (or after, if included)
  };

  Output push(std::string_view piece);
  std::string flush();

 private:
  struct Automaton {
    std::string stop;
    std::vector<std::size_t> fallback;
    std::size_t matched;  // bytes of `stop` that the text ends with

    bool advance(char c);
  };

  std::vector<Automaton> automata_;
  bool include_stop_;
  bool stopped_ = false;
  std::string held_;
};

}  // namespace genesis::text
