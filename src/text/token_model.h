// The model part of a tokenizer: a word to token ids. One interface for the four kinds there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text {

// A token and the bytes of the word it stands for. What the `tokenizers` package calls the token's
// value is the vocabulary's spelling or, if `literal`, those bytes.
struct TokenSpan {
  std::int32_t id;
  std::size_t begin;
  std::size_t end;
  bool literal = false;
};

// Working memory of one encode call, so that a word costs no allocation.
struct ModelScratch {
  struct Symbol {
    std::int32_t id;
    std::int32_t previous;
    std::int32_t next;
    std::uint32_t bytes;  // of the word; 0: merged into another
  };

  struct Merge {
    std::uint32_t rank;
    std::int32_t position;
    std::int32_t new_id;
  };

  struct Node {  // of the best path to a place in the word
    double score;
    std::int32_t id;
    std::int32_t begin;  // of the last token; -1: not reached
  };

  struct Split {  // how a token came about
    std::int32_t left;
    std::int32_t right;
  };

  std::vector<std::int32_t> ids;
  std::vector<std::uint32_t> lengths;
  std::vector<std::uint64_t> pairs;
  std::vector<Symbol> symbols;
  std::vector<Merge> heap;
  std::vector<std::pair<std::int32_t, Split>> splits;
  std::vector<Node> nodes;
  std::uint32_t waiting_unknown = 0;  // bytes of an unknown symbol not added yet
};

// Immutable; safe from any thread.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Append the tokens of one word, which is not empty.
  virtual void encode(std::string_view word,
                      ModelScratch& scratch,
                      std::vector<std::int32_t>& out) const = 0;
  virtual void encode_spans(std::string_view word,
                            ModelScratch& scratch,
                            std::vector<TokenSpan>& out) const = 0;

  virtual std::int32_t size() const = 0;         // highest id + 1
  virtual std::int32_t token_count() const = 0;  // ids may have gaps
  virtual bool has(std::int32_t id) const = 0;
  // As the vocabulary spells it; empty for an id without a token.
  virtual std::string token(std::int32_t id) const = 0;
  // As the model keeps it: the bytes of a token of a byte-level model, else its spelling.
  virtual std::string_view content(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> find(std::string_view token) const = 0;
};

}  // namespace genesis::text
