#include "text/grammar/token_trie.h"

#include "base/json.h"
#include "text/grammar/known_masks.h"

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

struct PlainPrefix {
  std::size_t characters = 0;
  std::size_t bytes = 0;
};

// What of the text stands in a JSON string as it is.
PlainPrefix plain_characters(std::string_view text) {
  PlainPrefix prefix;
  while (!text.empty()) {
    const std::size_t ascii = plain_prefix(text);
    const bool multibyte = ascii < text.size() && static_cast<unsigned char>(text[ascii]) >= 0x80;
    const std::size_t length = multibyte ? utf8_sequence_length(text.substr(ascii)) : 0;
    prefix.characters += ascii + (length > 0 ? 1 : 0);
    prefix.bytes += ascii + length;
    if (length == 0) {
      break;
    }
    text.remove_prefix(ascii + length);
  }
  return prefix;
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
  for (std::uint32_t i = 0; i < trie.size(); i = trie.nodes[i].skip) {
    if (trie.nodes[i].byte == '"') {
      trie.quoted = {i, trie.nodes[i].skip};
    }
  }
  return trie;
}

VocabularyTrie::VocabularyTrie(const Tokenizer& tokenizer)
    : known_masks_(std::make_shared<KnownMasks>()) {
  const std::int32_t size = tokenizer.vocab_size();
  offsets_.push_back(0);
  for (std::int32_t id = 0; id < size; ++id) {
    const std::string bytes = tokenizer.token_bytes(id);
    special_.push_back(tokenizer.is_special(id));
    text_ += bytes;
    offsets_.push_back(text_.size());
  }
  sort_out(mask_words(static_cast<std::size_t>(size)));
}

void VocabularyTrie::sort_out(std::size_t words) {
  plain_.assign(kMostPlain + 1, TokenBits(words, 0));
  all_plain_.assign(words, 0);
  std::vector<TokenText> all;
  std::vector<TokenText> every_remainder;
  std::vector<TokenText> long_texts;
  std::vector<std::vector<TokenText>> by_count(kMostPlain + 1);
  for (std::size_t at = 0; at < vocab_size(); ++at) {
    const auto id = static_cast<std::int32_t>(at);
    const std::string_view text = bytes(id);
    if (special(id)) {
      contents_.emplace_back(text, id);
      continue;
    }
    if (text.empty() || text.size() > kLongestToken) {
      continue;
    }
    all.push_back({text, id});
    const PlainPrefix prefix = plain_characters(text);
    const std::uint64_t bit = std::uint64_t{1} << (at % 64);
    if (prefix.characters > kMostPlain) {
      long_texts.push_back({text, id});
    }
    if (prefix.bytes == text.size()) {
      all_plain_[at / 64] |= bit;
      for (std::size_t most = prefix.characters; most <= kMostPlain; ++most) {
        plain_[most][at / 64] |= bit;
      }
      continue;
    }
    const std::string_view remainder = text.substr(prefix.bytes);
    if (prefix.characters <= kMostPlain) {
      every_remainder.push_back({remainder, id});
      by_count[prefix.characters].push_back({remainder, id});
    }
  }
  std::ranges::sort(contents_);
  all_ = make_trie(all);
  all_remainders_ = make_trie(every_remainder);
  long_tokens_ = make_trie(long_texts);
  for (std::vector<TokenText>& texts : by_count) {
    remainders_.push_back(make_trie(texts));
  }
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
