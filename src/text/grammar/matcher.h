// GrammarMatcher: where an answer stands in its language, and which tokens may come next.
#pragma once

#include "base/result.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>

namespace genesis::text {

namespace grammar {
class Machine;
struct State;
}  // namespace grammar

// The vocabulary as a trie of bytes, made once per tokenizer. Special tokens are apart: only
// GrammarBuilder::special_token() reaches them. Immutable; safe from any thread.
class TokenTrie {
 public:
  static std::shared_ptr<const TokenTrie> build(const Tokenizer& tokenizer);
  virtual ~TokenTrie() = default;
};

// One bit per token id, least significant first; as many words as the vocabulary needs.
constexpr std::size_t mask_words(std::size_t vocab_size) {
  return (vocab_size + 63) / 64;
}

// Cheap to copy: a copy is a place to come back to. Not thread-safe; different matchers of one
// grammar may be used from different threads and share its cached masks.
class GrammarMatcher {
 public:
  // kUnsupported: a special token of the grammar is not in the vocabulary.
  static Result<GrammarMatcher> create(std::shared_ptr<const Grammar> grammar,
                                       std::shared_ptr<const TokenTrie> tokens);

  static constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

  // Sets the bits of the tokens that may come next. With `tokens_left` (how many more may be
  // generated, the end token not counted) only tokens after which the language can still be
  // finished within the rest are allowed, as long as that is possible at all: an answer is not cut
  // in the middle. End tokens are the caller's: they may come when can_end().
  // kResourceExhausted: the grammar is too ambiguous here for its limits.
  Result<void> mask(std::span<std::uint64_t> allowed, std::int64_t tokens_left = kNoLimit) const;

  // False: the token is not allowed here, and nothing has changed.
  bool accept(std::int32_t token);
  bool can_end() const;
  bool must_end() const;  // nothing can follow

  // The bytes that must come next, whatever is chosen; at most `most`, whole characters only.
  // Stops before a special token, and where the text may end.
  std::string forced(std::size_t most) const;

 private:
  GrammarMatcher(std::shared_ptr<const Grammar> grammar,
                 std::shared_ptr<grammar::Machine> machine,
                 grammar::State* state);

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<grammar::Machine> machine_;
  grammar::State* state_;  // belongs to the machine
};

}  // namespace genesis::text
