#include "text/grammar/compiled.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

// Vocabularies for which a grammar keeps its masks at the same time.
constexpr std::size_t kMostMachines = 4;

}  // namespace

Grammar::Grammar(grammar::Nfa nfa, std::size_t cache_bytes)
    : nfa_(std::make_shared<const grammar::Nfa>(std::move(nfa))), cache_bytes_(cache_bytes) {}

Result<std::shared_ptr<grammar::Machine>> Grammar::machine_for(
    const std::shared_ptr<const grammar::VocabularyTrie>& vocabulary) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find_if(
      machines_, [&](const auto& machine) { return machine->vocabulary() == vocabulary; });
  if (found != machines_.end()) {
    if (!(*found)->full()) {
      return *found;
    }
    machines_.erase(found);
  }
  std::vector<std::int32_t> special_ids;
  for (const std::string& special : nfa_->specials) {
    const auto id = vocabulary->find_special(special);
    if (!id) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the model has no token '{}', which this grammar needs", special));
    }
    special_ids.push_back(*id);
  }
  if (machines_.size() == kMostMachines) {
    machines_.erase(machines_.begin());
  }
  machines_.push_back(
      std::make_shared<grammar::Machine>(nfa_, vocabulary, std::move(special_ids), cache_bytes_));
  return machines_.back();
}

}  // namespace genesis::text
