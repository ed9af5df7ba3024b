#include "text/grammar/automaton.h"

#include <algorithm>
#include <array>
#include <map>

namespace genesis::text::grammar {

namespace {

constexpr std::uint32_t kNotMade = ~std::uint32_t{0};
constexpr std::uint32_t kDeadNode = kNotMade - 1;

// More places at once than this are refused: only grammars with exponentially many readings of the
// same text get there.
constexpr std::size_t kMostConfigs = 2000;

struct ByteRun {
  std::uint8_t first;
  std::uint8_t last;
};

// Well-formed UTF-8 (The Unicode Standard, table 3-7) without what a JSON string has to escape.
constexpr std::array<std::array<ByteRun, 4>, 11> kPlainForms = {{
    {{{0x20, 0x21}, {}, {}, {}}},
    {{{0x23, 0x5B}, {}, {}, {}}},
    {{{0x5D, 0x7F}, {}, {}, {}}},
    {{{0xC2, 0xDF}, {0x80, 0xBF}, {}, {}}},
    {{{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}, {}}},
    {{{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}, {}}},
    {{{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}, {}}},
    {{{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}, {}}},
    {{{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {{{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {{{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}},
}};

std::size_t mix(std::size_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15ULL + (hash >> 29);
}

std::uint32_t add_costs(std::uint32_t a, std::uint32_t b) {
  return std::min(a + b, kUnreachable);
}

}  // namespace

std::size_t Automaton::ItemsHash::operator()(const std::vector<std::uint32_t>& items) const {
  std::size_t hash = items.size();
  for (const std::uint32_t item : items) {
    hash = mix(hash, item);
  }
  return hash;
}

std::size_t Automaton::KernelHash::operator()(const std::vector<Config>& kernel) const {
  std::size_t hash = kernel.size();
  for (const Config& config : kernel) {
    hash = mix(hash, std::uint64_t{config.node} << 32 | config.stack);
  }
  return hash;
}

Automaton::Automaton(std::shared_ptr<const Nfa> nfa, TokenCosts costs)
    : nfa_(std::move(nfa)),
      costs_(std::move(costs)),
      entries_(nfa_->rules.size(), kNotMade),
      mark_(nfa_->states(), 0) {
  for (const auto& form : kPlainForms) {
    for (unsigned b = form[0].first; b <= form[0].last; ++b) {
      plain_starts_.set(b);
    }
  }
  stacks_.resize(2);
  dead_.cost = kUnreachable;
  dead_.next = std::make_unique<std::atomic<State*>[]>(nfa_->class_byte.size());
  for (std::size_t c = 0; c < nfa_->class_byte.size(); ++c) {
    dead_.next[c].store(&dead_, std::memory_order_relaxed);
  }
  start_ = intern({{rule_entry(0), kBottom}});
}

// A call with nothing to do after it: a jump.
bool Automaton::tail(std::uint32_t state) const {
  for (;;) {
    if (nfa_->is_end[state]) {
      return true;
    }
    const auto out = nfa_->out(state);
    if (out.size() != 1 || out.front().kind != Edge::Kind::kEmpty) {
      return false;
    }
    state = out.front().to;
  }
}

std::uint32_t Automaton::node_of(std::vector<std::uint32_t> targets) {
  ++marked_;
  std::vector<std::uint32_t> items;
  std::vector<std::uint32_t> work = std::move(targets);
  while (!work.empty()) {
    const std::uint32_t state = work.back();
    work.pop_back();
    if (std::exchange(mark_[state], marked_) == marked_) {
      continue;
    }
    bool keep = nfa_->is_end[state];
    for (const Edge& edge : nfa_->out(state)) {
      if (edge.kind == Edge::Kind::kEmpty) {
        work.push_back(edge.to);
      } else if (edge.kind == Edge::Kind::kCall && tail(edge.to)) {
        work.push_back(nfa_->rules[edge.label].start);
      } else {
        keep = true;
        if (edge.kind == Edge::Kind::kCall && nfa_->rules[edge.label].nullable) {
          work.push_back(edge.to);
        }
      }
    }
    if (keep) {
      items.push_back(state);
    }
  }
  std::ranges::sort(items);
  return intern_node(std::move(items));
}

std::uint32_t Automaton::intern_node(std::vector<std::uint32_t> items) {
  if (items.empty()) {
    return kDeadNode;
  }
  const auto [found, fresh] =
      node_index_.try_emplace(items, static_cast<std::uint32_t>(nodes_.size()));
  if (!fresh) {
    return found->second;
  }
  const std::uint32_t index = found->second;
  Node& node = nodes_.emplace_back();
  node.cost = kUnreachable;
  node.only_ends = true;
  for (const std::uint32_t state : items) {
    node.only_ends = node.only_ends && nfa_->out(state).empty();
    node.ends = node.ends || nfa_->is_end[state];
    node.cost = std::min(node.cost, costs_[state]);
    for (const Edge& edge : nfa_->out(state)) {
      if (edge.kind == Edge::Kind::kBytes) {
        node.live |= nfa_->sets[edge.label];
      }
    }
  }
  node.next.assign(nfa_->class_byte.size(), kNotMade);
  bytes_ += sizeof(Node) + 12 * items.size() + 4 * node.next.size() + 64;
  node.items = std::move(items);
  return index;
}

// Calls of the same rule are one call: which of them it was shows only after the rule has ended.
void Automaton::find_calls(std::uint32_t index) {
  if (std::exchange(nodes_[index].calls_known, true)) {
    return;
  }
  std::map<std::uint32_t, std::vector<std::uint32_t>> calls;
  std::map<std::uint32_t, std::vector<std::uint32_t>> specials;
  for (const std::uint32_t state : nodes_[index].items) {
    for (const Edge& edge : nfa_->out(state)) {
      if (edge.kind == Edge::Kind::kCall && !tail(edge.to)) {
        calls[edge.label].push_back(edge.to);
      } else if (edge.kind == Edge::Kind::kSpecial) {
        specials[edge.label].push_back(edge.to);
      }
    }
  }
  std::vector<Call> made;
  for (auto& [rule, targets] : calls) {
    const std::uint32_t entry = rule_entry(rule);
    made.push_back({.entry = entry, .return_to = node_of(std::move(targets))});
  }
  std::vector<NodeSpecial> made_specials;
  for (auto& [special, targets] : specials) {
    made_specials.push_back({.special = special, .to = node_of(std::move(targets))});
  }
  nodes_[index].calls = std::move(made);
  nodes_[index].specials = std::move(made_specials);
}

std::uint32_t Automaton::rule_entry(std::uint32_t rule) {
  if (entries_[rule] == kNotMade) {
    const std::uint32_t entry = node_of({nfa_->rules[rule].start});
    entries_[rule] = entry;
  }
  return entries_[rule];
}

std::uint32_t Automaton::node_step(std::uint32_t index, std::uint8_t byte_class) {
  const std::uint32_t known = nodes_[index].next[byte_class];
  if (known != kNotMade) {
    return known;
  }
  const std::uint8_t byte = nfa_->class_byte[byte_class];
  std::vector<std::uint32_t> targets;
  if (nodes_[index].live[byte]) {
    for (const std::uint32_t state : nodes_[index].items) {
      for (const Edge& edge : nfa_->out(state)) {
        if (edge.kind == Edge::Kind::kBytes && nfa_->sets[edge.label][byte]) {
          targets.push_back(edge.to);
        }
      }
    }
  }
  const std::uint32_t next = node_of(std::move(targets));
  nodes_[index].next[byte_class] = next;
  return next;
}

std::uint32_t Automaton::push(std::uint32_t return_to, std::uint32_t below) {
  const auto [found, fresh] = stack_index_.try_emplace(std::uint64_t{return_to} << 32 | below,
                                                       static_cast<std::uint32_t>(stacks_.size()));
  if (fresh) {
    stacks_.push_back({.return_to = return_to,
                       .below = below,
                       .cost = add_costs(nodes_[return_to].cost, stacks_[below].cost)});
    bytes_ += sizeof(Stack) + 48;
  }
  return found->second;
}

// Adds where it goes on for every config whose rule may end.
Automaton::Ends Automaton::unwind(std::vector<Config>& kernel) const {
  Ends ends;
  for (std::size_t i = 0; i < kernel.size() && kernel.size() <= kMostConfigs; ++i) {
    const Config config = kernel[i];
    if (!nodes_[config.node].ends) {
      continue;
    }
    if (config.stack == kBottom) {
      ends.text = true;
    } else if (config.stack == kUnknownBelow) {
      ends.node = true;
    } else {
      kernel.push_back({stacks_[config.stack].return_to, stacks_[config.stack].below});
    }
  }
  ends.overflow = kernel.size() > kMostConfigs;
  std::ranges::sort(kernel, {}, [](const Config& c) { return std::pair(c.stack, c.node); });
  const auto repeated = std::ranges::unique(kernel);
  kernel.erase(repeated.begin(), repeated.end());
  // On the lowest stacks they are what tells that something has ended.
  std::erase_if(kernel, [this](const Config& c) {
    return c.stack > kUnknownBelow && nodes_[c.node].only_ends;
  });
  return ends;
}

// Two places with the same way on are one place.
void Automaton::merge_same_stacks(std::vector<Config>& kernel) {
  std::vector<Config> merged;
  for (std::size_t i = 0; i < kernel.size();) {
    std::size_t end = i + 1;
    while (end < kernel.size() && kernel[end].stack == kernel[i].stack) {
      ++end;
    }
    Config config = kernel[i];
    if (end - i > 1) {
      std::vector<std::uint32_t> items;
      for (; i < end; ++i) {
        const std::vector<std::uint32_t>& more = nodes_[kernel[i].node].items;
        items.insert(items.end(), more.begin(), more.end());
      }
      std::ranges::sort(items);
      const auto repeated = std::ranges::unique(items);
      items.erase(repeated.begin(), repeated.end());
      config.node = intern_node(std::move(items));
    }
    merged.push_back(config);
    i = end;
  }
  kernel = std::move(merged);
}

void Automaton::add_calls(State& state) {
  state.all = state.kernel;
  for (std::size_t i = 0; i < state.all.size() && state.all.size() <= kMostConfigs; ++i) {
    const Config config = state.all[i];
    find_calls(config.node);
    for (const Call& call : nodes_[config.node].calls) {
      const Config called{call.entry, push(call.return_to, config.stack)};
      if (!contains(state.all, called)) {
        state.all.push_back(called);
      }
    }
  }
  state.overflow = state.overflow || state.all.size() > kMostConfigs;
}

State* Automaton::intern(std::vector<Config> kernel) {
  if (kernel.empty()) {
    return &dead_;
  }
  Ends ends = unwind(kernel);
  merge_same_stacks(kernel);
  return make_state(std::move(kernel), ends);
}

State* Automaton::intern_as_is(std::vector<Config> kernel) {
  return kernel.empty() ? &dead_ : make_state(std::move(kernel), {});
}

State* Automaton::make_state(std::vector<Config> kernel, const Ends& ends) {
  const auto [found, fresh] = state_index_.try_emplace(kernel, nullptr);
  if (!fresh) {
    return found->second;
  }
  State& state = states_.emplace_back();
  found->second = &state;
  state.kernel = std::move(kernel);
  state.can_end = ends.text;
  state.leaves = ends.node;
  state.overflow = ends.overflow;
  add_calls(state);
  const std::size_t classes = nfa_->class_byte.size();
  state.next = std::make_unique<std::atomic<State*>[]>(classes);
  if (state.overflow) {
    state.all.clear();
    state.kernel.clear();
  }
  state.cost = state.can_end || state.leaves ? 0 : kUnreachable;
  for (const Config& config : state.all) {
    const Node& node = nodes_[config.node];
    state.live |= node.live;
    state.has_special = state.has_special || !node.specials.empty();
    state.cost = std::min(state.cost, add_costs(node.cost, stacks_[config.stack].cost));
  }
  for (std::size_t c = 0; c < classes; ++c) {
    const bool live = state.live[nfa_->class_byte[c]];
    state.next[c].store(live ? nullptr : &dead_, std::memory_order_relaxed);
  }
  bytes_ += sizeof(State) + 24 * state.all.size() + 8 * classes + 96;
  return &state;
}

State* Automaton::make_step(State* state, std::uint8_t byte_class) {
  std::vector<Config> kernel;
  for (const Config& config : state->all) {
    const std::uint32_t next = node_step(config.node, byte_class);
    if (next != kDeadNode) {
      kernel.push_back({next, config.stack});
    }
  }
  State* next = intern(std::move(kernel));
  state->next[byte_class].store(next, std::memory_order_release);
  return next;
}

std::vector<std::pair<std::uint32_t, State*>> Automaton::specials(State* state) {
  std::map<std::uint32_t, std::vector<Config>> kernels;
  for (const Config& config : state->all) {
    for (const NodeSpecial& special : nodes_[config.node].specials) {
      kernels[special.special].push_back({special.to, config.stack});
    }
  }
  std::vector<std::pair<std::uint32_t, State*>> out;
  for (auto& [special, kernel] : kernels) {
    out.emplace_back(special, intern(std::move(kernel)));
  }
  return out;
}

State* Automaton::step_special(State* state, std::uint32_t special) {
  for (const auto& [index, next] : specials(state)) {
    if (index == special) {
      return next;
    }
  }
  return &dead_;
}

State* Automaton::below(std::uint32_t stack) {
  if (stacks_[stack].state == nullptr) {
    State* state = intern({{stacks_[stack].return_to, stacks_[stack].below}});
    stacks_[stack].state = state;
  }
  return stacks_[stack].state;
}

bool Automaton::same_after(State* state, std::size_t form, std::size_t at, State*& found) {
  if (at == 4 || kPlainForms[form][at].last == 0) {
    if (found == nullptr) {
      found = state;
    }
    return found == state && state != &dead_;
  }
  std::optional<std::uint8_t> last;
  for (unsigned b = kPlainForms[form][at].first; b <= kPlainForms[form][at].last; ++b) {
    const std::uint8_t byte_class = nfa_->class_of[b];
    if (byte_class == last) {
      continue;
    }
    last = byte_class;
    if (!same_after(step(state, byte_class), form, at + 1, found)) {
      return false;
    }
  }
  return true;
}

// Strings of limited length call the rule of one character again and again. What one plain
// character does to that rule is known after the first time.
State* Automaton::after_plain_call(State* state) {
  const Config* taker = nullptr;
  for (const Config& config : state->all) {
    if ((nodes_[config.node].live & plain_starts_).any()) {
      if (taker != nullptr || config.stack <= kUnknownBelow) {
        return nullptr;
      }
      taker = &config;
    }
  }
  if (taker == nullptr) {
    return nullptr;
  }
  const std::uint32_t stack = taker->stack;
  State* called = after_plain(alone(taker->node));
  const bool ended = called != nullptr && called->leaves && called->live.none() &&
                     !called->has_special && called->kernel.size() == 1;
  return ended ? below(stack) : nullptr;
}

State* Automaton::after_plain(State* state) {
  if (!state->after_plain) {
    State* found = after_plain_call(state);
    if (found != nullptr) {
      state->after_plain = found;
      return found;
    }
    bool same = true;
    for (std::size_t form = 0; form < kPlainForms.size() && same; ++form) {
      same = same_after(state, form, 0, found);
    }
    state->after_plain = same ? found : nullptr;
  }
  return *state->after_plain;
}

State* Automaton::move_to(const State& state, Automaton& other) const {
  std::map<std::uint32_t, std::uint32_t> stacks = {{kBottom, kBottom},
                                                   {kUnknownBelow, kUnknownBelow}};
  std::vector<Config> kernel;
  for (const Config& config : state.kernel) {
    std::vector<std::uint32_t> path;
    for (std::uint32_t s = config.stack; !stacks.contains(s); s = stacks_[s].below) {
      path.push_back(s);
    }
    for (; !path.empty(); path.pop_back()) {
      const Stack& stack = stacks_[path.back()];
      stacks[path.back()] =
          other.push(other.intern_node(nodes_[stack.return_to].items), stacks[stack.below]);
    }
    kernel.push_back({other.intern_node(nodes_[config.node].items), stacks[config.stack]});
  }
  return other.intern(std::move(kernel));
}

}  // namespace genesis::text::grammar
