#include "text/grammar/token_trie.h"

#include "base/json.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace genesis::text {

std::shared_ptr<const TokenTrie> TokenTrie::build(const Tokenizer& tokenizer) {
  return std::make_shared<grammar::VocabularyTrie>(tokenizer);
}

}  // namespace genesis::text

namespace genesis::text::grammar {

namespace {

// A token longer than this is never allowed; real vocabularies end below 300 bytes.
constexpr std::size_t kLongestToken = std::numeric_limits<std::uint16_t>::max();

// Characters of a text that stands in a JSON string as it is; nullopt for any other.
std::optional<std::size_t> plain_characters(std::string_view text) {
  std::size_t count = 0;
  while (!text.empty()) {
    const std::size_t ascii = plain_prefix(text);
    count += ascii;
    text.remove_prefix(ascii);
    if (text.empty()) {
      break;
    }
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      return std::nullopt;
    }
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) {
      return std::nullopt;
    }
    ++count;
    text.remove_prefix(length);
  }
  return count;
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const auto ends = std::ranges::mismatch(a, b);
  return static_cast<std::size_t>(ends.in1 - a.begin());
}

}  // namespace

ByteTrie make_trie(std::vector<TokenText>& texts) {
  std::ranges::sort(texts, [](const TokenText& a, const TokenText& b) {
    return std::pair(a.bytes, a.id) < std::pair(b.bytes, b.id);
  });
  ByteTrie trie;
  std::vector<std::uint32_t> open;  // nodes on the way to the last text
  std::string_view last;
  const auto close = [&](std::size_t depth) {
    while (open.size() > depth) {
      trie.nodes[open.back()].skip = static_cast<std::uint32_t>(trie.nodes.size());
      open.pop_back();
    }
  };
  for (const TokenText& text : texts) {
    const std::size_t common = common_prefix(last, text.bytes);
    close(common);
    for (std::size_t i = common; i < text.bytes.size(); ++i) {
      open.push_back(static_cast<std::uint32_t>(trie.nodes.size()));
      trie.nodes.push_back({.skip = 0,
                            .first_token = static_cast<std::uint32_t>(trie.tokens.size()),
                            .depth = static_cast<std::uint16_t>(i),
                            .byte = static_cast<std::uint8_t>(text.bytes[i])});
    }
    trie.tokens.push_back(text.id);
    trie.depth = std::max(trie.depth, text.bytes.size());
    last = text.bytes;
  }
  close(0);
  trie.nodes.push_back({.skip = static_cast<std::uint32_t>(trie.nodes.size() + 1),
                        .first_token = static_cast<std::uint32_t>(trie.tokens.size())});
  return trie;
}

VocabularyTrie::VocabularyTrie(const Tokenizer& tokenizer) {
  const std::int32_t size = tokenizer.vocab_size();
  offsets_.push_back(0);
  for (std::int32_t id = 0; id < size; ++id) {
    const std::string bytes = tokenizer.token_bytes(id);
    special_.push_back(tokenizer.is_special(id));
    text_ += bytes;
    offsets_.push_back(text_.size());
  }
  const std::size_t words = mask_words(static_cast<std::size_t>(size));
  plain_.assign(kMostPlain + 1, TokenBits(words, 0));
  std::vector<TokenText> all;
  std::vector<TokenText> rest;
  for (std::int32_t id = 0; id < size; ++id) {
    const std::string_view text = bytes(id);
    if (special(id)) {
      contents_.emplace_back(text, id);
      continue;
    }
    if (text.empty() || text.size() > kLongestToken) {
      continue;
    }
    all.push_back({text, id});
    const auto count = plain_characters(text);
    if (!count || *count > kMostPlain) {
      rest.push_back({text, id});
      continue;
    }
    const auto bit = static_cast<std::size_t>(id);
    for (std::size_t most = *count; most <= kMostPlain; ++most) {
      plain_[most][bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
  }
  std::ranges::sort(contents_);
  all_ = make_trie(all);
  rest_ = make_trie(rest);
}

std::optional<std::int32_t> VocabularyTrie::find_special(std::string_view content) const {
  const auto found = std::ranges::lower_bound(
      contents_, content, {}, [](const auto& entry) { return std::string_view(entry.first); });
  if (found != contents_.end() && found->first == content) {
    return found->second;
  }
  // An added token that is text for the decoder, as <tool_call> is in some vocabularies.
  for (std::size_t id = 0; id < vocab_size(); ++id) {
    if (bytes(static_cast<std::int32_t>(id)) == content) {
      return static_cast<std::int32_t>(id);
    }
  }
  return std::nullopt;
}

}  // namespace genesis::text::grammar
