#include "text/grammar/token_costs.h"

#include <algorithm>
#include <array>
#include <optional>

namespace genesis::text::grammar {

namespace {

// Further than this along the way no token is looked for; longer ones hardly occur in JSON.
constexpr int kLongestLook = 24;

class Coster {
 public:
  Coster(const Nfa& nfa, const ByteTrie& trie) : nfa_(nfa), trie_(trie), ends_(shortest_ends(nfa)) {
    roots_.fill(trie.size());
    for (std::uint32_t node = 0; node < trie.size(); node = trie.nodes[node].skip) {
      roots_[trie.nodes[node].byte] = node;
    }
  }

  TokenCosts run() {
    costs_.assign(nfa_.states(), kUnreachable);
    for (const std::uint32_t state : ends_.order) {
      costs_[state] = std::min(cost_of(state), kUnreachable);
    }
    return std::move(costs_);
  }

 private:
  std::uint32_t cost_of(std::uint32_t state) {
    if (ends_.edge[state] == kNoEdge) {
      return 0;
    }
    const Edge& edge = nfa_.edges[ends_.edge[state]];
    switch (edge.kind) {
      case Edge::Kind::kEmpty:
        return costs_[edge.to];
      case Edge::Kind::kSpecial:
        return 1 + costs_[edge.to];
      case Edge::Kind::kCall:
        return costs_[nfa_.rules[edge.label].start] + costs_[edge.to];
      case Edge::Kind::kBytes:
        return std::min(along_the_way(state), single_byte(edge));
    }
    return kUnreachable;
  }

  std::uint32_t single_byte(const Edge& edge) const {
    const ByteSet& set = nfa_.sets[edge.label];
    for (unsigned b = 0; b < 256; ++b) {
      if (set[b] && roots_[b] != trie_.size() && !trie_.tokens_at(roots_[b]).empty()) {
        return 1 + costs_[edge.to];
      }
    }
    return kUnreachable;
  }

  // Every token that spells the way's next bytes.
  std::uint32_t along_the_way(std::uint32_t state) const {
    std::uint32_t best = kUnreachable;
    std::optional<std::uint32_t> node;
    for (int i = 0; i < kLongestLook && ends_.edge[state] != kNoEdge; ++i) {
      const Edge& edge = nfa_.edges[ends_.edge[state]];
      if (edge.kind == Edge::Kind::kBytes) {
        node = child(node, first_byte(nfa_.sets[edge.label]));
        if (!node) {
          break;
        }
        if (!trie_.tokens_at(*node).empty()) {
          best = std::min(best, 1 + costs_[edge.to]);
        }
      } else if (edge.kind != Edge::Kind::kEmpty) {
        break;
      }
      state = edge.to;
    }
    return best;
  }

  static std::uint8_t first_byte(const ByteSet& set) {
    for (unsigned b = 0x20; b < 256; ++b) {
      if (set[b]) {
        return static_cast<std::uint8_t>(b);
      }
    }
    return static_cast<std::uint8_t>(set._Find_first());
  }

  std::optional<std::uint32_t> child(std::optional<std::uint32_t> parent, std::uint8_t byte) const {
    if (!parent) {
      return roots_[byte] == trie_.size() ? std::nullopt : std::optional(roots_[byte]);
    }
    const std::uint32_t end = trie_.nodes[*parent].skip;
    for (std::uint32_t node = *parent + 1; node < end; node = trie_.nodes[node].skip) {
      if (trie_.nodes[node].byte == byte) {
        return node;
      }
    }
    return std::nullopt;
  }

  const Nfa& nfa_;
  const ByteTrie& trie_;
  ShortestEnds ends_;
  std::array<std::uint32_t, 256> roots_{};
  TokenCosts costs_;
};

}  // namespace

TokenCosts token_costs(const Nfa& nfa, const VocabularyTrie& vocabulary) {
  return Coster(nfa, vocabulary.all()).run();
}

}  // namespace genesis::text::grammar
