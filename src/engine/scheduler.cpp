// The scheduling rules. Progress: the oldest running sequence may take pages from every other one,
// and alone it fits the pool, so it finishes; then the next is the oldest.
#include "engine/scheduler.h"

#include "base/check.h"

#include <algorithm>
#include <utility>

namespace genesis::engine {

namespace {

// Steps after which a waiting sequence counts as one of the next higher priority.
constexpr std::uint64_t kRise = 1'000;
// Fewer tokens than this are computed as quickly as their page is looked up.
constexpr std::int32_t kWorthKeeping = 4;

}  // namespace

std::string_view cache_miss_name(CacheMiss miss) {
  switch (miss) {
    case CacheMiss::kNone:
      return "none";
    case CacheMiss::kNew:
      return "new";
    case CacheMiss::kDiverged:
      return "diverged";
    case CacheMiss::kEvicted:
      return "evicted";
    case CacheMiss::kPromptLogprobs:
      return "prompt_logprobs";
    case CacheMiss::kOff:
      return "off";
  }
  return "none";
}

Scheduler::Scheduler(SchedulerOptions options)
    : options_(options), pages_(options.num_pages, options.page_tokens) {
  GENESIS_CHECK(options.max_batch > 0 && options.prefill_chunk > 0 && options.page_tokens > 0);
}

void Scheduler::add(Arrival arrival) {
  const SequenceId id = arrival.id;
  GENESIS_CHECK(arrival.tokens > 0 && arrival.chunk_limit > 0);
  GENESIS_CHECK(pages_for(arrival.tokens + 1) <= pages_.total());
  GENESIS_CHECK(std::cmp_less_equal(arrival.names.size(), arrival.tokens / options_.page_tokens));
  GENESIS_CHECK(!entries_.contains(id));
  entries_.emplace(id,
                   Entry{.known = arrival.tokens,
                         .chunk_limit = arrival.chunk_limit,
                         .namer = std::move(arrival.namer),
                         .names = std::move(arrival.names),
                         .prompt = std::move(arrival.prompt),
                         .reuse = arrival.reuse,
                         .use = {},
                         .pages = {},
                         .flow = arrival.flow,
                         .priority = arrival.priority,
                         .since = plans_});
  waiting_.push_back(id);
  // Who was away has no claim to what others got meanwhile.
  Flow& flow = flows_[arrival.flow];
  flow.tokens = flow.sequences++ == 0 ? virtual_time_ : flow.tokens;
}

void Scheduler::remove(SequenceId id) {
  const auto at = entries_.find(id);
  GENESIS_CHECK(at != entries_.end());
  release(at->second);
  leave_flow(at->second.flow);
  entries_.erase(at);
  GENESIS_CHECK(std::erase(running_, id) + std::erase(waiting_, id) == 1);
}

void Scheduler::remove(SequenceId id, std::span<const std::int32_t> tokens) {
  Entry& entry = entries_.at(id);
  const std::int32_t page = options_.page_tokens;
  const std::int32_t block = entry.computed / page;
  const std::int32_t count = entry.computed % page;
  if (options_.prefix_cache && count >= kWorthKeeping) {
    // Guesses may have taken more.
    for (; std::cmp_greater(entry.pages.size(), block + 1); entry.pages.pop_back()) {
      pages_.give_back(entry.pages.back());
    }
    pages_.give_back_part(
        entry.pages.back(),
        place_of(entry, block),
        tokens.subspan(static_cast<std::size_t>(block * page), static_cast<std::size_t>(count)));
    entry.pages.pop_back();
  }
  remove(id);
}

std::vector<StepPart> Scheduler::plan(std::int32_t beside) {
  GENESIS_CHECK(beside > 0);
  std::vector<StepPart> parts;
  claimed_.clear();
  ++plans_;
  plan_decodes(parts);
  const std::int32_t most = options_.prefill_chunk;
  const std::int32_t budget = plan_prompts(parts, parts.empty() ? most : std::min(beside, most));
  admit(parts, budget);
  GENESIS_CHECK(!parts.empty() || entries_.empty());
  return parts;
}

void Scheduler::advance(SequenceId id, std::int32_t count, std::span<const std::int32_t> tokens) {
  Entry& entry = entries_.at(id);
  GENESIS_CHECK(count > 0 && std::cmp_equal(tokens.size(), entry.known));
  const std::int32_t page = options_.page_tokens;
  std::int32_t block = entry.computed / page;
  entry.computed += count;
  GENESIS_CHECK(entry.computed <= entry.known);
  flows_.at(entry.flow).tokens += static_cast<std::uint64_t>(count);
  for (; options_.prefix_cache && (block + 1) * page <= entry.computed; ++block) {
    const auto at = static_cast<std::size_t>(block);
    if (at == entry.names.size()) {
      entry.names.push_back(entry.namer.next(
          at == 0 ? entry.namer.root() : entry.names.back(),
          block * page,
          tokens.subspan(at * static_cast<std::size_t>(page), static_cast<std::size_t>(page))));
    }
    const std::int32_t before = at == 0 ? -1 : entry.pages[at - 1];
    entry.pages[at] = pages_.publish(entry.pages[at], entry.names[at], before, block * page);
  }
}

void Scheduler::append(SequenceId id) {
  Entry& entry = entries_.at(id);
  ++entry.known;
  entry.first_pass = false;
}

void Scheduler::propose(SequenceId id, std::int32_t drafts) {
  Entry& entry = entries_.at(id);
  GENESIS_CHECK(drafts >= 0 && entry.known - entry.computed == 1);
  entry.drafts = drafts;
}

const CacheUse& Scheduler::cache_use(SequenceId id) const {
  return entries_.at(id).use;
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
      add_part(parts, id, 1, std::min(entry.drafts, room_in(entry) - 1));
    }
  }
}

std::int32_t Scheduler::plan_prompts(std::vector<StepPart>& parts, std::int32_t budget) {
  for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
    const SequenceId id = running_[i];
    Entry& entry = entries_.at(id);
    if (entry.known - entry.computed <= 1) {
      continue;
    }
    adopt(entry);
    if (awaits(entry)) {
      continue;
    }
    // Only the oldest takes pages away for a prompt; the others shrink their chunk to what is free.
    while (i == 0 && room_in(entry) == 0) {
      const SequenceId victim = preempt_youngest();
      GENESIS_CHECK(victim != id);
      std::erase_if(parts, [victim](const StepPart& part) { return part.id == victim; });
    }
    const std::int32_t count = chunk_of(entry, std::min(budget, room_in(entry)));
    if (count > 0) {
      add_part(parts, id, count);
      budget -= count;
    }
  }
  return budget;
}

void Scheduler::admit(std::vector<StepPart>& parts, std::int32_t budget) {
  while (!waiting_.empty() && budget > 0 && running() < options_.max_batch) {
    const std::size_t next = next_waiting();
    const SequenceId id = waiting_[next];
    Entry& entry = entries_.at(id);
    // A newcomer that eats the pages of those already running would only be thrown out again.
    const Match found = match(entry);
    const std::int32_t needed = pages_for(entry.known + 1) - found.blocks + found.kept;
    if (!running_.empty() && needed + pages_spoken_for() > pages_.available()) {
      return;
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(next));
    running_.push_back(id);
    virtual_time_ = std::max(virtual_time_, flows_.at(entry.flow).tokens);
    adopt(entry);
    if (awaits(entry)) {
      continue;
    }
    const std::int32_t count = chunk_of(entry, budget);
    add_part(parts, id, count);
    budget -= count;
  }
}

// Those that were running before come first, or their work would be lost again and again.
std::size_t Scheduler::next_waiting() const {
  std::size_t best = 0;
  const Entry* chosen = nullptr;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const Entry& entry = entries_.at(waiting_[i]);
    if (entry.started) {
      return i;
    }
    const auto before = [this](const Entry& a, const Entry& b) {
      const int rank_a = rank(a);
      const int rank_b = rank(b);
      return rank_a != rank_b ? rank_a < rank_b
                              : flows_.at(a.flow).tokens < flows_.at(b.flow).tokens;
    };
    if (chosen == nullptr || before(entry, *chosen)) {
      chosen = &entry;
      best = i;
    }
  }
  return best;
}

// Lower comes first. Who waits long enough rises, so that low priority is late and never lost.
int Scheduler::rank(const Entry& entry) const {
  const auto risen = static_cast<int>(std::min<std::uint64_t>((plans_ - entry.since) / kRise, 2));
  return static_cast<int>(entry.priority) - risen;
}

void Scheduler::leave_flow(const std::string& name) {
  const auto flow = flows_.find(name);
  if (--flow->second.sequences == 0) {
    flows_.erase(flow);
  }
}

void Scheduler::add_part(std::vector<StepPart>& parts,
                         SequenceId id,
                         std::int32_t count,
                         std::int32_t drafts) {
  Entry& entry = entries_.at(id);
  note_start(entry);
  take_pages(entry, entry.computed + count + drafts);
  parts.push_back({.id = id,
                   .start = entry.computed,
                   .count = count + drafts,
                   .completes = entry.computed + count == entry.known,
                   .drafts = drafts});
  entry.drafts = 0;
  const auto last = static_cast<std::size_t>((entry.computed + count - 1) / options_.page_tokens);
  for (auto block = static_cast<std::size_t>(entry.computed / options_.page_tokens);
       block <= last && block < entry.names.size();
       ++block) {
    claimed_.insert(entry.names[block]);
  }
}

// Tokens to compute next. A chunk that does not reach the end of what is known ends with a page,
// where that is possible: only whole pages can be shared.
std::int32_t Scheduler::chunk_of(const Entry& entry, std::int32_t budget) const {
  const std::int32_t left = entry.known - entry.computed;
  const std::int32_t count = std::min({left, budget, entry.chunk_limit});
  const std::int32_t beyond = (entry.computed + count) % options_.page_tokens;
  return count < left && count > beyond ? count - beyond : count;
}

// Whether the block at `computed` may come from the cache. The last known token may not: its logits
// are needed.
bool Scheduler::next_block_is_whole(const Entry& entry, std::int32_t computed) const {
  const std::int32_t page = options_.page_tokens;
  return entry.reuse && options_.prefix_cache && computed % page == 0 &&
         computed + page < entry.known && std::cmp_less(computed / page, entry.names.size());
}

Scheduler::Match Scheduler::match(const Entry& entry) const {
  Match found;
  for (std::int32_t at = entry.computed; next_block_is_whole(entry, at);
       at += options_.page_tokens) {
    const auto page =
        pages_.look_up(entry.names[static_cast<std::size_t>(at / options_.page_tokens)]);
    if (!page) {
      break;
    }
    ++found.blocks;
    found.kept += pages_.holders(*page) == 0 ? 1 : 0;
  }
  return found;
}

void Scheduler::adopt(Entry& entry) {
  while (next_block_is_whole(entry, entry.computed)) {
    const auto page =
        pages_.find(entry.names[static_cast<std::size_t>(entry.computed / options_.page_tokens)]);
    if (!page) {
      break;
    }
    entry.pages.push_back(*page);
    entry.computed += options_.page_tokens;
    entry.use.cached += entry.first_pass ? options_.page_tokens : 0;
  }
  adopt_part(entry);
}

// Goes on where somebody stopped inside a page, unless the whole page will be there in a moment.
void Scheduler::adopt_part(Entry& entry) {
  const std::int32_t page = options_.page_tokens;
  if (!options_.prefix_cache || !entry.reuse || !entry.prompt || !entry.first_pass ||
      entry.computed % page != 0 || awaits(entry)) {
    return;
  }
  const auto start = static_cast<std::size_t>(entry.computed);
  // The last token's logits are needed.
  const std::size_t left = entry.prompt->size() - 1 - start;
  const auto part = pages_.take_part(
      place_of(entry, entry.computed / page),
      std::span(*entry.prompt).subspan(start, std::min(left, static_cast<std::size_t>(page) - 1)));
  if (part) {
    entry.pages.push_back(part->page);
    entry.computed += part->tokens;
    entry.use.cached += part->tokens;
  }
}

BlockHash Scheduler::place_of(const Entry& entry, std::int32_t block) const {
  return entry.namer.place(
      block == 0 ? entry.namer.root() : entry.names[static_cast<std::size_t>(block) - 1],
      block * options_.page_tokens,
      options_.page_tokens);
}

// Whether an older sequence computes what this one needs next. That sequence is at the same place
// of the same chain and does not wait itself, so nobody waits in a circle.
bool Scheduler::awaits(const Entry& entry) const {
  return next_block_is_whole(entry, entry.computed) &&
         claimed_.contains(
             entry.names[static_cast<std::size_t>(entry.computed / options_.page_tokens)]);
}

void Scheduler::note_start(Entry& entry) const {
  if (std::exchange(entry.started, true)) {
    return;
  }
  entry.use.miss_at = entry.computed;
  if (!options_.prefix_cache) {
    entry.use.miss = CacheMiss::kOff;
  } else if (!entry.reuse) {
    entry.use.miss = CacheMiss::kPromptLogprobs;
  } else if (!next_block_is_whole(entry, entry.computed - entry.computed % options_.page_tokens)) {
    entry.use.miss = CacheMiss::kNone;
  } else if (pages_.evicted_lately(
                 entry.names[static_cast<std::size_t>(entry.computed / options_.page_tokens)])) {
    entry.use.miss = CacheMiss::kEvicted;
  } else {
    entry.use.miss = entry.computed == 0 ? CacheMiss::kNew : CacheMiss::kDiverged;
  }
}

SequenceId Scheduler::preempt_youngest() {
  const SequenceId victim = running_.back();
  running_.pop_back();
  waiting_.push_front(victim);
  Entry& entry = entries_.at(victim);
  release(entry);
  entry.computed = 0;
  entry.drafts = 0;
  entry.first_pass = false;
  ++preemptions_;
  return victim;
}

void Scheduler::take_pages(Entry& entry, std::int32_t tokens) {
  while (std::cmp_less(entry.pages.size(), pages_for(tokens))) {
    const auto page = pages_.take();
    GENESIS_CHECK(page.has_value());
    entry.pages.push_back(*page);
  }
}

void Scheduler::release(Entry& entry) {
  // In reverse, so that a sequence that comes back gets its pages in the same order.
  for (; !entry.pages.empty(); entry.pages.pop_back()) {
    pages_.give_back(entry.pages.back());
  }
}

std::int32_t Scheduler::pages_for(std::int32_t tokens) const {
  return (tokens + options_.page_tokens - 1) / options_.page_tokens;
}

// Tokens that could be computed now with the pages held and those free.
std::int32_t Scheduler::room_in(const Entry& entry) const {
  const auto pages = static_cast<std::int32_t>(entry.pages.size()) + pages_.available();
  return pages * options_.page_tokens - entry.computed;
}

// Pages that the running sequences will need soon: the rest of their prompts and one page each
// beyond.
std::int32_t Scheduler::pages_spoken_for() const {
  std::int32_t pages = 0;
  for (const SequenceId id : running_) {
    const Entry& entry = entries_.at(id);
    // Guesses may have taken more than that.
    pages +=
        std::max(0, pages_for(entry.known) + 1 - static_cast<std::int32_t>(entry.pages.size()));
  }
  return pages;
}

void Scheduler::check_invariants() const {
  GENESIS_CHECK(running_.size() + waiting_.size() == entries_.size());
  GENESIS_CHECK(running() <= options_.max_batch);
  int in_flows = 0;
  for (const auto& [name, flow] : flows_) {
    GENESIS_CHECK(flow.sequences > 0);
    in_flows += flow.sequences;
  }
  GENESIS_CHECK(std::cmp_equal(in_flows, entries_.size()));
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
  for (std::size_t i = 0; i < held.size();) {
    const auto end = std::ranges::upper_bound(held, held[i]) - held.begin();
    GENESIS_CHECK(std::cmp_equal(pages_.holders(held[i]), static_cast<std::size_t>(end) - i));
    i = static_cast<std::size_t>(end);
  }
  held.erase(std::ranges::unique(held).begin(), held.end());
  GENESIS_CHECK(std::cmp_equal(held.size(), pages_.total() - pages_.available()));
  pages_.check_invariants();
}

}  // namespace genesis::engine
