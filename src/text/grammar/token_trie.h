// The vocabulary as byte tries, laid out for one pass from front to back.
#pragma once

#include "text/grammar/matcher.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

// One bit per token.
using TokenBits = std::vector<std::uint64_t>;

// Nodes in preorder: the first child of a node is the next one, `skip` the one after its subtree.
struct ByteTrie {
  struct Node {
    std::uint32_t skip = 0;
    std::uint32_t first_token = 0;  // its own tokens reach to the first of the next node
    std::uint16_t depth = 0;        // 0 for a first byte
    std::uint8_t byte = 0;
  };

  // Nodes from `first` to before `last`.
  struct Part {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
  };

  std::vector<Node> nodes;  // one more at the end, which only closes the last range of tokens
  std::vector<std::int32_t> tokens;
  std::size_t depth = 0;
  Part quoted;  // what begins with a quote

  std::uint32_t size() const { return static_cast<std::uint32_t>(nodes.size() - 1); }

  std::span<const std::int32_t> tokens_at(std::uint32_t node) const {
    return std::span(tokens).subspan(nodes[node].first_token,
                                     nodes[node + 1].first_token - nodes[node].first_token);
  }
};

struct TokenText {
  std::string_view bytes;
  std::int32_t id = 0;
};

// Of non-empty texts; sorts them.
ByteTrie make_trie(std::vector<TokenText>& texts);

// Most of a vocabulary is text that a JSON string holds as it is, "plain" characters; in a string
// all of it is allowed at once. Other tokens are kept by what stands in them before the first byte
// that is not plain: how many plain characters, and the remainder from that byte on.
class KnownMasks;

class VocabularyTrie : public TokenTrie {
 public:
  // Tokens of more plain characters are kept apart.
  static constexpr std::size_t kMostPlain = 32;

  explicit VocabularyTrie(const Tokenizer& tokenizer);

  std::size_t vocab_size() const { return offsets_.size() - 1; }

  std::string_view bytes(std::int32_t id) const {
    const auto at = static_cast<std::size_t>(id);
    return std::string_view(text_).substr(offsets_[at], offsets_[at + 1] - offsets_[at]);
  }

  bool special(std::int32_t id) const { return special_[static_cast<std::size_t>(id)]; }

  std::optional<std::int32_t> find_special(std::string_view content) const;

  const ByteTrie& all() const { return all_; }

  // Plain tokens of at most so many characters.
  const TokenBits& plain(std::size_t characters) const { return plain_[characters]; }

  const TokenBits& all_plain() const { return all_plain_; }

  // The remainders of tokens that begin with so many plain characters, at most kMostPlain.
  const ByteTrie& remainders(std::size_t characters) const { return remainders_[characters]; }

  const ByteTrie& all_remainders() const { return all_remainders_; }

  // Whole tokens of more than kMostPlain plain characters, whatever follows them.
  const ByteTrie& long_tokens() const { return long_tokens_; }

  // Of well-known rules, for all grammars.
  KnownMasks& known_masks() const { return *known_masks_; }

 private:
  std::string text_;
  std::vector<std::size_t> offsets_;
  std::vector<bool> special_;
  // What it is good for is found out while building; then all is constant.
  void sort_out(std::size_t words);

  std::vector<std::pair<std::string, std::int32_t>> contents_;  // of special tokens, sorted
  ByteTrie all_;
  std::vector<TokenBits> plain_;
  TokenBits all_plain_;
  std::vector<ByteTrie> remainders_;
  ByteTrie all_remainders_;
  ByteTrie long_tokens_;
  std::shared_ptr<KnownMasks> known_masks_;
};

}  // namespace genesis::text::grammar
