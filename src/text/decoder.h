// Decoders: tokens back to text. One implementation serves decoding at once and token by token: a
// chain of steps that pass tokens on as soon as later ones cannot change them. Semantics follow the
// `tokenizers` package (decoders/).
#pragma once

#include "base/result.h"
#include "text/unicode.h"

#include <boost/json/fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

class DecodeChain;

// Where a step's tokens go: the next step, or the text.
class TokenSink {
 public:
  TokenSink(DecodeChain& chain, std::size_t next) : chain_(chain), next_(next) {}

  void text(std::string_view part);  // of the current token
  void end();                        // of the current token

  void token(std::string_view whole) {
    text(whole);
    end();
  }

 private:
  DecodeChain& chain_;
  std::size_t next_;
};

// A step at work on one answer. Parts of tokens are whole characters.
class StepState {
 public:
  virtual ~StepState() = default;
  virtual void text(std::string_view part, TokenSink& out) = 0;
  virtual void end(TokenSink& out) = 0;

  virtual void finish(TokenSink&) {}  // no more tokens
};

// Immutable; safe from any thread.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;
  virtual std::unique_ptr<StepState> start() const = 0;
};

// Decoding of one answer. Not thread-safe.
class DecodeChain {
 public:
  explicit DecodeChain(const std::vector<std::unique_ptr<const DecodeStep>>& steps);

  // Both return the text that is certain now.
  std::string push(std::string_view token);
  std::string finish();

 private:
  friend class TokenSink;

  std::vector<std::unique_ptr<StepState>> states_;
  std::string out_;
  bool finished_ = false;
};

// Immutable; safe from any thread.
class Decoder {
 public:
  // Reads the "decoder" member of a tokenizer.json; null joins tokens with spaces.
  static Result<Decoder> parse(const boost::json::value& json,
                               const std::shared_ptr<const CharTable>& table);
  // Byte-level tokens.
  static Decoder bytes();
  // Pieces with U+2581 for the space and byte tokens; `strips` the space before the first word.
  static Decoder pieces(bool strips);
  static Decoder word_pieces();

  // Nothing but ByteLevel: a token stands for its bytes, whatever its neighbours.
  bool is_bytes() const { return is_bytes_; }

  DecodeChain start() const { return DecodeChain(steps_); }

  // What a token adds to a text in whose middle it stands; a byte token: its byte.
  std::string bytes_of(std::string_view token) const;

 private:
  Decoder() = default;

  Result<void> add(const boost::json::value& json,
                   const std::shared_ptr<const CharTable>& table,
                   std::size_t depth);

  std::vector<std::unique_ptr<const DecodeStep>> steps_;
  std::size_t growing_steps_ = 0;
  bool is_bytes_ = false;
  bool has_byte_level_ = false;
  bool has_byte_fallback_ = false;
};

// The byte of a token like <0xAB>.
std::optional<unsigned char> byte_of_token(std::string_view token);

}  // namespace genesis::text
