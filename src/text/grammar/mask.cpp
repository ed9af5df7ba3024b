#include "text/grammar/mask.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace genesis::text::grammar {

namespace {

// From so many possible next bytes on, a node's mask is worth being shared between its contexts.
constexpr std::size_t kWideBytes = 32;

// Setting this many single bits takes as long as copying the bits of a large vocabulary.
constexpr std::size_t kLongList = 700;

void clear_bit(std::span<std::uint64_t> bits, std::int32_t token) {
  const auto at = static_cast<std::size_t>(token);
  bits[at / 64] &= ~(std::uint64_t{1} << (at % 64));
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

MaskMaker::MaskMaker(Automaton& automaton,
                     std::shared_ptr<const VocabularyTrie> vocabulary,
                     std::vector<std::int32_t> special_ids)
    : automaton_(automaton),
      vocabulary_(std::move(vocabulary)),
      special_ids_(std::move(special_ids)),
      path_(vocabulary_->all().depth + 1),
      model_path_(path_.size()) {}

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
    if (config.stack > kUnknownBelow) {
      walk_exits(shared, automaton_.below(config.stack), found);
    }
  }
  if (!narrow.empty()) {
    const bool all = narrow.size() == state->kernel.size();
    State* from = all ? state : automaton_.intern_as_is(std::move(narrow));
    walk_all(vocabulary_->all(), from, found);
  }
  add_specials(state, found);
  mask.tokens = std::move(found.tokens);
  mask.worst_cost = std::max(mask.worst_cost, found.worst_cost);
  settle(mask);
  return mask;
}

void MaskMaker::walk(const ByteTrie& trie, ByteTrie::Part part, State* from, Found& found) {
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
      found.exits.push_back({&trie, i});
    }
    path_[node.depth - base + 1] = next;
    ++i;
  }
}

void MaskMaker::walk_all(const ByteTrie& trie, State* from, Found& found) {
  walk(trie, {0, trie.size()}, from, found);
}

std::optional<MaskMaker::PlainWay> MaskMaker::plain_way(State* state, const Found& found) {
  PlainWay way;
  way.states.push_back(state);
  while (!way.endless && way.states.size() <= VocabularyTrie::kMostPlain) {
    State* next = automaton_.after_plain(way.states.back());
    if (next == nullptr) {
      break;
    }
    if (next->leaves || next->overflow || next->cost > found.most_cost) {
      return std::nullopt;
    }
    way.endless = next == way.states.back();
    if (!way.endless) {
      way.states.push_back(next);
    }
  }
  const bool far = way.endless || way.states.size() > VocabularyTrie::kMostPlain;
  if (!far && (way.states.size() == 1 || takes_plain(*way.states.back()))) {
    return std::nullopt;
  }
  return way;
}

// In a string almost every token is allowed; what is left to walk are remainders with quotes,
// escapes or parts of characters.
const TokenBits* MaskMaker::walk_wide(State* state, Found& found) {
  const std::optional<PlainWay> way = plain_way(state, found);
  if (!way) {
    walk_all(vocabulary_->all(), state, found);
    return nullptr;
  }
  for (std::size_t i = way->endless ? 0 : 1; i < way->states.size(); ++i) {
    found.worst_cost = std::max(found.worst_cost, way->states[i]->cost);
  }
  const ByteTrie& any = vocabulary_->all_remainders();
  if (way->endless && way->states.size() == 1) {
    walk_all(any, state, found);
    walk_all(vocabulary_->long_tokens(), state, found);
    return &vocabulary_->all_plain();
  }
  const std::size_t last = way->states.size() - 1;
  const std::size_t most = way->endless ? VocabularyTrie::kMostPlain : last;
  // Far from the limits of its length a string may end after any of its characters.
  State* const closed = automaton_.step_byte(state, '"');
  const bool same_close =
      most == VocabularyTrie::kMostPlain && std::ranges::all_of(way->states, [&](State* at) {
        return automaton_.step_byte(at, '"') == closed;
      });
  if (same_close) {
    walk(any, any.quoted, state, found);
  }
  for (std::size_t count = 0; count <= most; ++count) {
    const ByteTrie& trie = vocabulary_->remainders(count);
    State* const from = way->states[std::min(count, last)];
    if (same_close) {
      walk(trie, {0, trie.quoted.first}, from, found);
      walk(trie, {trie.quoted.last, trie.size()}, from, found);
    } else {
      walk_all(trie, from, found);
    }
  }
  if (most == VocabularyTrie::kMostPlain) {
    walk_all(vocabulary_->long_tokens(), state, found);
  }
  return &vocabulary_->plain(most);
}

const MaskMaker::NodeMask& MaskMaker::node_mask(std::uint32_t node) {
  const auto known = node_masks_.find(node);
  if (known != node_masks_.end()) {
    return known->second;
  }
  NodeMask made{.state = automaton_.alone(node)};
  const std::string place = automaton_.place_of(node);
  const auto shared = place.empty() ? nullptr : vocabulary_->known_masks().find(place);
  if (shared != nullptr) {
    made.mask = shared->mask;
    made.exits = shared->exits;
    shared_.push_back(shared);
  } else {
    make_node_mask(made);
  }
  if (shared == nullptr && !place.empty() && made.model == nullptr) {
    auto kept = std::make_shared<PlaceMask>(PlaceMask{.mask = made.mask, .exits = made.exits});
    if (!bits_.empty() && made.mask.base == &bits_.back()) {
      kept->bits = bits_.back();
      kept->mask.base = &kept->bits;
    }
    vocabulary_->known_masks().add(place, std::move(kept));
  }
  bytes_ += sizeof(NodeMask) + sizeof(Exit) * made.exits.size() +
            4 * (made.mask.tokens.size() + made.excluded.size());
  return node_masks_.emplace(node, std::move(made)).first->second;
}

void MaskMaker::make_node_mask(NodeMask& made) {
  const NodeMask* model = model_of(made.state);
  if (model != nullptr) {
    follow_model(made.state, *model, made);
  } else {
    Found found;
    made.mask.base = walk_wide(made.state, found);
    made.mask.tokens = std::move(found.tokens);
    made.mask.worst_cost = found.worst_cost;
    made.exits = std::move(found.exits);
  }
  settle(made.mask);
}

// Names other than the declared ones, text without a marker: after most first bytes such a node is
// like a string.
const MaskMaker::NodeMask* MaskMaker::model_of(State* state) {
  if (automaton_.after_plain(state) != nullptr) {
    return nullptr;
  }
  std::map<State*, std::size_t> votes;
  for (unsigned b = 'A'; b <= 'z'; ++b) {
    ++votes[automaton_.step_byte(state, static_cast<std::uint8_t>(b))];
  }
  const auto most =
      std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  State* model = most->first;
  const bool usable = model != automaton_.dead() && model != state && model->kernel.size() == 1 &&
                      model->kernel.front().stack == kUnknownBelow && !model->leaves &&
                      automaton_.after_plain(model) == model;
  return usable ? &node_mask(model->kernel.front().node) : nullptr;
}

// Walks only where the two do not meet in the same state: what follows there is the model's.
void MaskMaker::follow_model(State* state, const NodeMask& model, NodeMask& made) {
  const ByteTrie& trie = vocabulary_->all();
  const std::array<std::uint8_t, 256>& class_of = automaton_.nfa().class_of;
  State* const dead = automaton_.dead();
  made.model = &model;
  made.mask.worst_cost = model.mask.worst_cost;
  path_[0] = state;
  model_path_[0] = model.state;
  for (std::uint32_t i = 0; i < trie.size();) {
    const ByteTrie::Node& node = trie.nodes[i];
    const std::uint8_t byte_class = class_of[node.byte];
    State* const next = automaton_.step(path_[node.depth], byte_class);
    State* const other = automaton_.step(model_path_[node.depth], byte_class);
    if (next == other) {
      i = node.skip;
      continue;
    }
    // Below a place that only the model leaves nothing of the model counts.
    const bool all_below = next == dead || (other->leaves && !next->leaves);
    const std::uint32_t end = trie.nodes[i + 1].first_token;
    made.excluded.insert(
        made.excluded.end(),
        trie.tokens.begin() + node.first_token,
        trie.tokens.begin() + (all_below ? trie.nodes[node.skip].first_token : end));
    if (next == dead) {
      i = node.skip;
      continue;
    }
    if (node.first_token != end) {
      made.mask.worst_cost = std::max(made.mask.worst_cost, next->cost);
      made.mask.tokens.insert(made.mask.tokens.end(),
                              trie.tokens.begin() + node.first_token,
                              trie.tokens.begin() + end);
    }
    if (next->leaves && node.skip > i + 1) {
      made.exits.push_back({&trie, i});
    }
    path_[node.depth + 1] = next;
    model_path_[node.depth + 1] = other;
    ++i;
  }
  std::ranges::sort(made.excluded);
  TokenBits bits(mask_words(vocabulary_->vocab_size()), 0);
  model.mask.write(bits);
  for (const std::int32_t token : made.excluded) {
    clear_bit(bits, token);
  }
  made.mask.base = keep(std::move(bits));
}

void MaskMaker::walk_exits(const NodeMask& mask, State* below, Found& found) {
  for (const Exit& exit : mask.exits) {
    walk(*exit.trie, {exit.node + 1, exit.trie->nodes[exit.node].skip}, below, found);
  }
  if (mask.model == nullptr) {
    return;
  }
  Found more{.most_cost = found.most_cost};
  walk_exits(*mask.model, below, more);
  found.worst_cost = std::max(found.worst_cost, more.worst_cost);
  std::ranges::copy_if(more.tokens, std::back_inserter(found.tokens), [&](std::int32_t token) {
    return !std::ranges::binary_search(mask.excluded, token);
  });
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
  mask.base = walk_wide(state, found);
  add_specials(state, found);
  mask.tokens = std::move(found.tokens);
  mask.worst_cost = found.worst_cost;
  return mask;
}

}  // namespace genesis::text::grammar
