// Fuzz target: a JSON schema, regular expression or GBNF text from a stranger, chosen by the first
// byte, then random tokens along the masks. The source is compiled or refused with an error within
// small limits; what a mask allows is accepted, what it does not allow is not, and an answer with a
// token limit that was enough at its start is finished.
#include "base/check.h"
#include "text/grammar/matcher.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace genesis;
using namespace genesis::text;

constexpr GrammarLimits kLimits{
    .source_bytes = 64 * 1024, .nodes = 20'000, .depth = 32, .cache_bytes = 4 * 1024 * 1024};

// Every byte and a few longer texts.
class Vocabulary : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view, const EncodeOptions&) const override {
    return {};
  }

  std::string decode(std::span<const std::int32_t>, bool) const override { return {}; }

  std::string token_bytes(std::int32_t id) const override {
    static constexpr std::string_view kMore[] = {"\"",
                                                 "\":",
                                                 "\", \"",
                                                 "{\"",
                                                 "\"}",
                                                 "]}",
                                                 "true",
                                                 "abc",
                                                 "  ",
                                                 "\\n",
                                                 "\xC3\xA9",
                                                 "\xE6\x97",
                                                 "a\"b"};
    return id < 256 ? std::string(1, static_cast<char>(id)) : std::string(kMore[id - 256]);
  }

  bool is_special(std::int32_t) const override { return false; }

  std::int32_t vocab_size() const override { return 256 + 13; }

  std::optional<std::int32_t> token_id(std::string_view) const override { return std::nullopt; }

  std::optional<std::int32_t> bos_id() const override { return std::nullopt; }

  std::span<const std::int32_t> end_ids() const override { return {}; }
};

std::vector<std::int32_t> allowed(const GrammarMatcher& at, std::int64_t left) {
  std::vector<std::uint64_t> bits(mask_words(256 + 13));
  std::vector<std::int32_t> tokens;
  if (at.mask(bits, left)) {
    for (std::int32_t id = 0; id < 256 + 13; ++id) {
      if ((bits[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0) {
        tokens.push_back(id);
      }
    }
  }
  return tokens;
}

void walk(const GrammarMatcher& start, std::uint64_t seed) {
  constexpr std::int64_t kLimit = 30;
  GrammarMatcher at = start;
  for (std::int64_t left = kLimit; left > 0; --left) {
    const std::vector<std::int32_t> tokens = allowed(at, left);
    if (tokens.empty()) {
      break;
    }
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto probe = static_cast<std::int32_t>((seed >> 33) % (256 + 13));
    GrammarMatcher copy = at;
    const std::vector<std::int32_t> any = allowed(at, GrammarMatcher::kNoLimit);
    GENESIS_CHECK(copy.accept(probe) == std::ranges::binary_search(any, probe));
    const std::string forced = at.forced(8);
    GENESIS_CHECK(forced.empty() || !at.can_end());
    GENESIS_CHECK(at.accept(tokens[(seed >> 20) % tokens.size()]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const TokenTrie> trie = TokenTrie::build(Vocabulary());
  if (size == 0) {
    return 0;
  }
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  GrammarBuilder builder(kLimits);
  const auto root = data[0] % 3 == 0   ? builder.json_schema(source)
                    : data[0] % 3 == 1 ? builder.regex(source)
                                       : builder.gbnf(source);
  if (!root) {
    GENESIS_CHECK(!root.error().message.empty());
    return 0;
  }
  const auto grammar = builder.build(*root);
  if (!grammar) {
    return 0;
  }
  const auto matcher = GrammarMatcher::create(*grammar, trie);
  GENESIS_CHECK(matcher.has_value());
  walk(*matcher, size);
  walk(*matcher, data[size - 1] + 1000ULL);
  return 0;
}
