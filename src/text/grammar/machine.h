// A language together with a vocabulary: the automaton and its masks, shared by all matchers.
#pragma once

#include "text/grammar/automaton.h"
#include "text/grammar/mask.h"
#include "text/grammar/token_trie.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace genesis::text::grammar {

// Safe from any thread: what is known already is read without the lock.
class Machine {
 public:
  Machine(std::shared_ptr<const Nfa> nfa,
          std::shared_ptr<const VocabularyTrie> vocabulary,
          std::vector<std::int32_t> special_ids,
          std::size_t most_bytes);

  State* start() { return automaton_.start(); }

  // nullptr: not in the language.
  State* after_bytes(State* state, std::string_view bytes);
  State* after_token(State* state, std::int32_t token);
  void write_mask(State* state, std::int64_t tokens_left, std::span<std::uint64_t> allowed);

  // More memory is used than agreed: go on in a fresh machine.
  bool full() const { return full_.load(std::memory_order_relaxed); }

  State* move_to(const State& state, Machine& other);

  const std::shared_ptr<const VocabularyTrie>& vocabulary() const { return vocabulary_; }

 private:
  void measure();

  std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::vector<std::int32_t> special_ids_;
  std::size_t most_bytes_;
  std::mutex mutex_;
  Automaton automaton_;
  MaskMaker masks_;
  std::atomic<bool> full_ = false;
};

}  // namespace genesis::text::grammar
