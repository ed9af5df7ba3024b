#include "text/grammar/machine.h"

#include <algorithm>

namespace genesis::text::grammar {

Machine::Machine(std::shared_ptr<const Nfa> nfa,
                 std::shared_ptr<const VocabularyTrie> vocabulary,
                 std::vector<std::int32_t> special_ids,
                 std::size_t most_bytes)
    : vocabulary_(std::move(vocabulary)),
      special_ids_(std::move(special_ids)),
      most_bytes_(most_bytes),
      automaton_(nfa, token_costs(*nfa, *vocabulary_)),
      masks_(automaton_, vocabulary_, special_ids_) {}

void Machine::measure() {
  if (automaton_.bytes() + masks_.bytes() > most_bytes_) {
    full_.store(true, std::memory_order_relaxed);
  }
}

State* Machine::after_bytes(State* state, std::string_view bytes) {
  const std::array<std::uint8_t, 256>& class_of = automaton_.nfa().class_of;
  for (const char c : bytes) {
    const std::uint8_t byte_class = class_of[static_cast<unsigned char>(c)];
    State* next = state->next[byte_class].load(std::memory_order_acquire);
    if (next == nullptr) {
      const std::scoped_lock lock(mutex_);
      next = automaton_.step(state, byte_class);
      measure();
    }
    if (next == automaton_.dead()) {
      return nullptr;
    }
    state = next;
  }
  return state;
}

State* Machine::after_token(State* state, std::int32_t token) {
  if (token < 0 || static_cast<std::size_t>(token) >= vocabulary_->vocab_size()) {
    return nullptr;
  }
  if (state->has_special) {
    const auto found = std::ranges::find(special_ids_, token);
    if (found != special_ids_.end()) {
      const std::scoped_lock lock(mutex_);
      const auto special = static_cast<std::uint32_t>(found - special_ids_.begin());
      State* next = automaton_.step_special(state, special);
      measure();
      if (next != automaton_.dead()) {
        return next;
      }
    }
  }
  const std::string_view bytes = vocabulary_->bytes(token);
  if (vocabulary_->special(token) || bytes.empty()) {
    return nullptr;
  }
  return after_bytes(state, bytes);
}

void Machine::write_mask(State* state, std::int64_t tokens_left, std::span<std::uint64_t> allowed) {
  const Mask* mask = state->mask.load(std::memory_order_acquire);
  if (mask == nullptr) {
    const std::scoped_lock lock(mutex_);
    mask = &masks_.mask(state);
    measure();
  }
  const std::int64_t left = std::max<std::int64_t>(tokens_left, 0);
  const bool within = mask->worst_cost < left;
  const bool hopeless = state->cost > left;
  if (within || hopeless) {
    mask->write(allowed);
  } else if (left == 0) {
    std::ranges::fill(allowed, 0);
  } else {
    const std::scoped_lock lock(mutex_);
    masks_.limited(state, static_cast<std::uint32_t>(left - 1)).write(allowed);
    measure();
  }
}

State* Machine::move_to(const State& state, Machine& other) {
  const std::scoped_lock lock(mutex_, other.mutex_);
  State* moved = automaton_.move_to(state, other.automaton_);
  other.measure();
  return moved;
}

}  // namespace genesis::text::grammar
