// The scheduling rules. Progress: the oldest running sequence may take pages from every other one,
// and alone it fits the pool, so it finishes; then the next is the oldest.
#include "engine/scheduler.h"

#include "base/check.h"

#include <algorithm>
#include <utility>

namespace genesis::engine {

Scheduler::Scheduler(SchedulerOptions options) : options_(options), pool_(options.num_pages) {
  GENESIS_CHECK(options.max_batch > 0 && options.prefill_chunk > 0 && options.page_tokens > 0);
}

void Scheduler::add(SequenceId id, std::int32_t tokens, std::int32_t chunk_limit) {
  GENESIS_CHECK(tokens > 0 && chunk_limit > 0 && pages_for(tokens + 1) <= pool_.total());
  GENESIS_CHECK(waiting_.empty() || waiting_.back() < id);
  GENESIS_CHECK(running_.empty() || running_.back() < id);
  entries_.emplace(id, Entry{.known = tokens, .chunk_limit = chunk_limit});
  waiting_.push_back(id);
}

void Scheduler::remove(SequenceId id) {
  const auto at = entries_.find(id);
  GENESIS_CHECK(at != entries_.end());
  release(at->second);
  entries_.erase(at);
  GENESIS_CHECK(std::erase(running_, id) + std::erase(waiting_, id) == 1);
}

std::vector<StepPart> Scheduler::plan() {
  std::vector<StepPart> parts;
  plan_decodes(parts);
  const std::int32_t budget = plan_prompts(parts);
  admit(parts, budget);
  GENESIS_CHECK(!parts.empty() || entries_.empty());
  return parts;
}

void Scheduler::advance(SequenceId id, std::int32_t count) {
  Entry& entry = entries_.at(id);
  entry.computed += count;
  GENESIS_CHECK(count > 0 && entry.computed <= entry.known);
}

void Scheduler::append(SequenceId id) {
  Entry& entry = entries_.at(id);
  GENESIS_CHECK(entry.computed == entry.known);
  ++entry.known;
}

std::span<const std::int32_t> Scheduler::pages(SequenceId id) const {
  return entries_.at(id).pages;
}

void Scheduler::plan_decodes(std::vector<StepPart>& parts) {
  // preempt_youngest() shortens running_ from behind, so the loop never visits a victim.
  for (std::size_t i = 0; i < running_.size(); ++i) {
    const SequenceId id = running_[i];
    Entry& entry = entries_.at(id);
    if (entry.known - entry.computed != 1) {
      continue;
    }
    bool mine = true;
    while (mine && room_in(entry) == 0) {
      mine = preempt_youngest() != id;
    }
    if (mine) {
      add_part(parts, id, 1);
    }
  }
}

std::int32_t Scheduler::plan_prompts(std::vector<StepPart>& parts) {
  std::int32_t budget = options_.prefill_chunk;
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    const SequenceId id = running_[i];
    Entry& entry = entries_.at(id);
    if (entry.known - entry.computed <= 1) {
      continue;
    }
    // Only the oldest takes pages away for a prompt; the others shrink their chunk to what is free.
    while (i == 0 && room_in(entry) == 0) {
      const SequenceId victim = preempt_youngest();
      GENESIS_CHECK(victim != id);
      std::erase_if(parts, [victim](const StepPart& part) { return part.id == victim; });
    }
    const std::int32_t count =
        std::min({entry.known - entry.computed, budget, entry.chunk_limit, room_in(entry)});
    if (count > 0) {
      add_part(parts, id, count);
      budget -= count;
    }
  }
  return budget;
}

void Scheduler::admit(std::vector<StepPart>& parts, std::int32_t budget) {
  while (!waiting_.empty() && budget > 0 && running() < options_.max_batch) {
    const SequenceId id = waiting_.front();
    Entry& entry = entries_.at(id);
    // A newcomer that eats the pages of those already running would only be thrown out again.
    if (!running_.empty() && pages_for(entry.known + 1) + pages_spoken_for() > pool_.free_pages()) {
      return;
    }
    waiting_.pop_front();
    running_.push_back(id);
    const std::int32_t count = std::min({entry.known, budget, entry.chunk_limit});
    add_part(parts, id, count);
    budget -= count;
  }
}

void Scheduler::add_part(std::vector<StepPart>& parts, SequenceId id, std::int32_t count) {
  Entry& entry = entries_.at(id);
  take_pages(entry, entry.computed + count);
  parts.push_back({.id = id,
                   .start = entry.computed,
                   .count = count,
                   .completes = entry.computed + count == entry.known});
}

SequenceId Scheduler::preempt_youngest() {
  const SequenceId victim = running_.back();
  running_.pop_back();
  waiting_.push_front(victim);
  Entry& entry = entries_.at(victim);
  release(entry);
  entry.computed = 0;
  ++preemptions_;
  return victim;
}

void Scheduler::take_pages(Entry& entry, std::int32_t tokens) {
  while (std::cmp_less(entry.pages.size(), pages_for(tokens))) {
    const auto page = pool_.take();
    GENESIS_CHECK(page.has_value());
    entry.pages.push_back(*page);
  }
}

void Scheduler::release(Entry& entry) {
  // In reverse, so that a sequence that comes back gets its pages in the same order.
  for (; !entry.pages.empty(); entry.pages.pop_back()) {
    pool_.give_back(entry.pages.back());
  }
}

std::int32_t Scheduler::pages_for(std::int32_t tokens) const {
  return (tokens + options_.page_tokens - 1) / options_.page_tokens;
}

// Tokens that could be computed now with the pages held and those free.
std::int32_t Scheduler::room_in(const Entry& entry) const {
  const auto pages = static_cast<std::int32_t>(entry.pages.size()) + pool_.free_pages();
  return pages * options_.page_tokens - entry.computed;
}

// Pages that the running sequences will need soon: the rest of their prompts and one page each
// beyond.
std::int32_t Scheduler::pages_spoken_for() const {
  std::int32_t pages = 0;
  for (const SequenceId id : running_) {
    const Entry& entry = entries_.at(id);
    pages += pages_for(entry.known) + 1 - static_cast<std::int32_t>(entry.pages.size());
  }
  return pages;
}

void Scheduler::check_invariants() const {
  GENESIS_CHECK(running_.size() + waiting_.size() == entries_.size());
  GENESIS_CHECK(running() <= options_.max_batch);
  GENESIS_CHECK(std::ranges::is_sorted(running_) && std::ranges::is_sorted(waiting_));
  GENESIS_CHECK(running_.empty() || waiting_.empty() || running_.back() < waiting_.front());
  std::vector<std::int32_t> held;
  for (const auto& [id, entry] : entries_) {
    GENESIS_CHECK(entry.computed <= entry.known);
    GENESIS_CHECK(std::cmp_less_equal(pages_for(entry.computed), entry.pages.size()));
    held.insert(held.end(), entry.pages.begin(), entry.pages.end());
  }
  for (const SequenceId id : waiting_) {
    GENESIS_CHECK(entries_.at(id).pages.empty() && entries_.at(id).computed == 0);
  }
  std::ranges::sort(held);
  GENESIS_CHECK(std::ranges::adjacent_find(held) == held.end());
  GENESIS_CHECK(std::cmp_equal(held.size(), pool_.total() - pool_.free_pages()));
}

}  // namespace genesis::engine
