#include "text/grammar/matcher.h"

#include "base/check.h"
#include "text/grammar/compiled.h"
#include "text/unicode.h"

#include <utility>

namespace genesis::text {

GrammarMatcher::GrammarMatcher(std::shared_ptr<const Grammar> grammar,
                               std::shared_ptr<grammar::Machine> machine,
                               grammar::State* state)
    : grammar_(std::move(grammar)), machine_(std::move(machine)), state_(state) {}

Result<GrammarMatcher> GrammarMatcher::create(std::shared_ptr<const Grammar> grammar,
                                              std::shared_ptr<const TokenTrie> tokens) {
  // TokenTrie::build() is the only way to one.
  auto vocabulary = std::static_pointer_cast<const grammar::VocabularyTrie>(std::move(tokens));
  GENESIS_TRY(auto machine, grammar->machine_for(vocabulary));
  grammar::State* start = machine->start();
  return GrammarMatcher(std::move(grammar), std::move(machine), start);
}

Result<void> GrammarMatcher::mask(std::span<std::uint64_t> allowed,
                                  std::int64_t tokens_left) const {
  GENESIS_CHECK(allowed.size() >= mask_words(machine_->vocabulary()->vocab_size()));
  if (state_->overflow) {
    return fail(ErrorCode::kResourceExhausted,
                "the grammar can be read in too many ways at this point of the answer",
                "make the grammar less ambiguous");
  }
  machine_->write_mask(state_, tokens_left, allowed);
  return {};
}

bool GrammarMatcher::accept(std::int32_t token) {
  grammar::State* next = machine_->after_token(state_, token);
  if (next == nullptr) {
    return false;
  }
  state_ = next;
  if (machine_->full()) {
    // The vocabulary knows the special tokens, or there would be no machine yet.
    auto fresh = grammar_->machine_for(machine_->vocabulary());
    GENESIS_CHECK(fresh.has_value());
    if (*fresh != machine_) {
      state_ = machine_->move_to(*state_, **fresh);
      machine_ = std::move(*fresh);
    }
  }
  return true;
}

bool GrammarMatcher::can_end() const {
  return state_->can_end;
}

bool GrammarMatcher::must_end() const {
  return state_->can_end && state_->live.none() && !state_->has_special;
}

std::string GrammarMatcher::forced(std::size_t most) const {
  std::string bytes;
  grammar::State* at = state_;
  while (bytes.size() < most && !at->can_end && !at->has_special && at->live.count() == 1) {
    bytes.push_back(static_cast<char>(at->live._Find_first()));
    at = machine_->after_bytes(at, std::string_view(bytes).substr(bytes.size() - 1));
  }
  std::size_t whole = 0;
  while (whole < bytes.size()) {
    const Utf8Step step = utf8_step(std::string_view(bytes).substr(whole));
    if (step.kind == Utf8Step::Kind::kIncomplete) {
      break;
    }
    whole += step.bytes;
  }
  bytes.resize(whole);
  return bytes;
}

}  // namespace genesis::text
