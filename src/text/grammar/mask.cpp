#include "text/grammar/mask.h"

#include <algorithm>
#include <string>
#include <utility>

namespace genesis::text::grammar {

namespace {

// From so many possible next bytes on, a node's mask is worth being shared between its contexts.
constexpr std::size_t kWideBytes = 32;

// Setting this many single bits takes as long as copying the bits of a large vocabulary.
constexpr std::size_t kLongList = 700;

void set_bit(std::span<std::uint64_t> bits, std::int32_t token) {
  const auto at = static_cast<std::size_t>(token);
  bits[at / 64] |= std::uint64_t{1} << (at % 64);
}

bool starts_plain(unsigned byte) {
  return byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x80 || byte >= 0xC2) &&
         byte <= 0xF4;
}

bool takes_plain(const State& state) {
  for (unsigned b = 0; b < 256; ++b) {
    if (state.live[b] && starts_plain(b)) {
      return true;
    }
  }
  return false;
}

}  // namespace

void Mask::write(std::span<std::uint64_t> allowed) const {
  if (base != nullptr) {
    const auto rest = std::ranges::copy(*base, allowed.begin()).out;
    std::fill(rest, allowed.end(), 0);
  } else {
    std::ranges::fill(allowed, 0);
  }
  for (const std::int32_t token : tokens) {
    set_bit(allowed, token);
  }
}

MaskMaker::MaskMaker(Automaton& automaton,
                     std::shared_ptr<const VocabularyTrie> vocabulary,
                     std::vector<std::int32_t> special_ids)
    : automaton_(automaton),
      vocabulary_(std::move(vocabulary)),
      special_ids_(std::move(special_ids)),
      path_(vocabulary_->all().depth + 1) {}

const Mask& MaskMaker::mask(State* state) {
  if (const Mask* known = state->mask.load(std::memory_order_relaxed)) {
    return *known;
  }
  const Mask& made = masks_.emplace_back(make(state));
  bytes_ += sizeof(Mask) + 4 * made.tokens.size();
  state->mask.store(&made, std::memory_order_release);
  return made;
}

Mask MaskMaker::make(State* state) {
  Mask mask;
  Found found;
  std::vector<Config> narrow;
  for (const Config& config : state->kernel) {
    if (automaton_.alone(config.node)->live.count() < kWideBytes) {
      narrow.push_back(config);
      continue;
    }
    const NodeMask& shared = node_mask(config.node);
    mask.worst_cost =
        std::max(mask.worst_cost, shared.mask.worst_cost + automaton_.stack_cost(config.stack));
    found.tokens.insert(found.tokens.end(), shared.mask.tokens.begin(), shared.mask.tokens.end());
    if (mask.base == nullptr || shared.mask.base == nullptr) {
      mask.base = mask.base == nullptr ? shared.mask.base : mask.base;
    } else {
      TokenBits both = *mask.base;
      std::ranges::transform(both, *shared.mask.base, both.begin(), std::bit_or<>());
      mask.base = keep(std::move(both));
    }
    if (config.stack > kUnknownBelow && !shared.exits.empty()) {
      walk_exits(node_masks_.at(config.node), automaton_.below(config.stack), found);
    }
  }
  if (!narrow.empty()) {
    const bool all = narrow.size() == state->kernel.size();
    State* from = all ? state : automaton_.intern_as_is(std::move(narrow));
    walk(vocabulary_->all(), {0, vocabulary_->all().size()}, from, found);
  }
  add_specials(state, found);
  mask.tokens = std::move(found.tokens);
  mask.worst_cost = std::max(mask.worst_cost, found.worst_cost);
  settle(mask);
  return mask;
}

void MaskMaker::walk(const ByteTrie& trie, Part part, State* from, Found& found) {
  if (part.first == part.last) {
    return;
  }
  const std::size_t base = trie.nodes[part.first].depth;
  const std::array<std::uint8_t, 256>& class_of = automaton_.nfa().class_of;
  State* const dead = automaton_.dead();
  path_[0] = from;
  for (std::uint32_t i = part.first; i < part.last;) {
    const ByteTrie::Node& node = trie.nodes[i];
    State* const next = automaton_.step(path_[node.depth - base], class_of[node.byte]);
    if (next == dead) {
      i = node.skip;
      continue;
    }
    const std::uint32_t end = trie.nodes[i + 1].first_token;
    if (node.first_token != end && next->cost <= found.most_cost) {
      found.worst_cost = std::max(found.worst_cost, next->cost);
      found.tokens.insert(
          found.tokens.end(), trie.tokens.begin() + node.first_token, trie.tokens.begin() + end);
    }
    if (next->leaves && node.skip > i + 1) {
      found.exits.push_back(i);
    }
    path_[node.depth - base + 1] = next;
    ++i;
  }
}

// In a string almost every token is allowed; what is left to walk are those with quotes, escapes or
// parts of characters.
const TokenBits* MaskMaker::plain_base(State* state, Found& found) {
  std::uint32_t worst = 0;
  State* at = state;
  std::size_t count = 0;
  while (count < VocabularyTrie::kMostPlain) {
    State* next = automaton_.after_plain(at);
    if (next == nullptr) {
      break;
    }
    worst = std::max(worst, next->cost);
    if (next->leaves || next->overflow || next->cost > found.most_cost) {
      return nullptr;
    }
    count = next == at ? VocabularyTrie::kMostPlain : count + 1;
    at = next;
  }
  if (count == 0 || (count < VocabularyTrie::kMostPlain && takes_plain(*at))) {
    return nullptr;
  }
  found.worst_cost = std::max(found.worst_cost, worst);
  return &vocabulary_->plain(count);
}

const MaskMaker::NodeMask& MaskMaker::node_mask(std::uint32_t node) {
  const auto [entry, fresh] = node_masks_.try_emplace(node);
  NodeMask& made = entry->second;
  if (!fresh) {
    return made;
  }
  State* state = automaton_.alone(node);
  Found found;
  made.mask.base = plain_base(state, found);
  made.trie = made.mask.base != nullptr ? &vocabulary_->rest() : &vocabulary_->all();
  walk(*made.trie, {0, made.trie->size()}, state, found);
  made.mask.tokens = std::move(found.tokens);
  made.mask.worst_cost = found.worst_cost;
  made.exits = std::move(found.exits);
  settle(made.mask);
  bytes_ += sizeof(NodeMask) + 4 * (made.mask.tokens.size() + made.exits.size());
  return made;
}

void MaskMaker::walk_exits(NodeMask& mask, State* below, Found& found) {
  if (++mask.uses > 1 && mask.suffixes == nullptr) {
    build_suffixes(mask);
  }
  if (mask.suffixes != nullptr) {
    walk(*mask.suffixes, {0, mask.suffixes->size()}, below, found);
    return;
  }
  for (const std::uint32_t exit : mask.exits) {
    walk(*mask.trie, {exit + 1, mask.trie->nodes[exit].skip}, below, found);
  }
}

void MaskMaker::build_suffixes(NodeMask& mask) {
  std::vector<TokenText> texts;
  for (const std::uint32_t exit : mask.exits) {
    const ByteTrie::Node& node = mask.trie->nodes[exit];
    const std::uint32_t end = mask.trie->nodes[node.skip].first_token;
    for (std::uint32_t i = mask.trie->nodes[exit + 1].first_token; i < end; ++i) {
      const std::int32_t token = mask.trie->tokens[i];
      texts.push_back({vocabulary_->bytes(token).substr(node.depth + std::size_t{1}), token});
    }
  }
  mask.suffixes = std::make_unique<ByteTrie>(make_trie(texts));
  bytes_ += mask.suffixes->nodes.size() * sizeof(ByteTrie::Node) + 4 * texts.size();
}

void MaskMaker::add_specials(State* state, Found& found) {
  if (!state->has_special) {
    return;
  }
  for (const auto& [special, next] : automaton_.specials(state)) {
    if (next->cost <= found.most_cost) {
      found.tokens.push_back(special_ids_[special]);
      found.worst_cost = std::max(found.worst_cost, next->cost);
    }
  }
}

const TokenBits* MaskMaker::keep(TokenBits bits) {
  bytes_ += bits.size() * sizeof(std::uint64_t);
  return &bits_.emplace_back(std::move(bits));
}

void MaskMaker::settle(Mask& mask) {
  if (mask.tokens.size() < kLongList) {
    return;
  }
  TokenBits own =
      mask.base != nullptr ? *mask.base : TokenBits(mask_words(vocabulary_->vocab_size()), 0);
  for (const std::int32_t token : mask.tokens) {
    set_bit(own, token);
  }
  mask.base = keep(std::move(own));
  mask.tokens = {};
}

Mask MaskMaker::limited(State* state, std::uint32_t most_cost) {
  Mask mask;
  Found found;
  found.most_cost = most_cost;
  mask.base = state->live.count() >= kWideBytes ? plain_base(state, found) : nullptr;
  const ByteTrie& trie = mask.base != nullptr ? vocabulary_->rest() : vocabulary_->all();
  walk(trie, {0, trie.size()}, state, found);
  add_specials(state, found);
  mask.tokens = std::move(found.tokens);
  mask.worst_cost = found.worst_cost;
  return mask;
}

}  // namespace genesis::text::grammar
