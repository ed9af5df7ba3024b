#include "engine/drafter.h"

#include "base/log.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <numeric>
#include <utility>

namespace genesis::engine {

namespace {

std::int32_t most_likely(std::span<const float> row) {
  return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

}  // namespace

Drafter::Drafter(std::unique_ptr<Runner> runner)
    : runner_(std::move(runner)),
      info_(runner_->info()),
      free_(static_cast<std::size_t>(info_.num_pages)) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

std::vector<std::vector<std::int32_t>> Drafter::draft(std::span<const Ask> asks) {
  ++round_;
  std::vector<std::vector<std::int32_t>> guesses(asks.size());
  if (broken_) {
    return guesses;
  }
  for (const Ask& ask : asks) {
    readers_[ask.id].used = round_;  // nobody in this round makes room for another
  }
  std::vector<std::size_t> writing;  // asks that wait for their next guess
  std::int32_t left = kDraftReadAhead;
  for (std::size_t i = 0; i < asks.size() && !broken_; ++i) {
    if (follow(asks[i], readers_[asks[i].id], left)) {
      writing.push_back(i);
    }
  }
  // First the tokens that are not read yet, up to the last one, then guess by guess.
  std::vector<SequenceStep> batch;
  while (!writing.empty() && !broken_) {
    batch.clear();
    for (const std::size_t i : writing) {
      Reader& reader = readers_[asks[i].id];
      const auto& known = asks[i].tokens;
      const std::size_t start = reader.read.size();
      const std::span<const std::int32_t> unread =
          guesses[i].empty() ? known.subspan(start) : std::span(guesses[i]).last(1);
      batch.push_back({.tokens = unread,
                       .start = static_cast<std::int32_t>(start),
                       .pages = reader.pages,
                       .logit_rows = 1});
    }
    if (!run_round(batch)) {
      break;
    }
    std::vector<std::size_t> going_on;
    const auto vocab = static_cast<std::size_t>(info_.vocab_size);
    for (std::size_t at = 0; at < writing.size(); ++at) {
      const std::size_t i = writing[at];
      Reader& reader = readers_[asks[i].id];
      reader.read.insert(reader.read.end(), batch[at].tokens.begin(), batch[at].tokens.end());
      guesses[i].push_back(most_likely(std::span(logits_).subspan(at * vocab, vocab)));
      if (std::ssize(guesses[i]) < asks[i].most) {
        going_on.push_back(i);
      }
    }
    writing = std::move(going_on);
  }
  return guesses;
}

// Brings the reader to the last token but for a rest that fits into a step. True: it may guess now.
bool Drafter::follow(const Ask& ask, Reader& reader, std::int32_t& left) {
  const auto foreign = [this](std::int32_t token) { return token >= info_.vocab_size; };
  if (ask.most <= 0 || ask.tokens.empty() || std::ranges::any_of(ask.tokens, foreign)) {
    return false;
  }
  const std::size_t wanted = ask.tokens.size() + static_cast<std::size_t>(ask.most) - 1;
  if (wanted > static_cast<std::size_t>(info_.max_context)) {
    release(reader);
    return false;
  }
  // Guesses that proved wrong were read, too; the last token is read again for its logits.
  const auto [differs, _] =
      std::ranges::mismatch(reader.read, ask.tokens.first(ask.tokens.size() - 1));
  reader.read.erase(differs, reader.read.end());
  if (!make_room(reader, wanted)) {
    release(reader);
    return false;
  }
  const auto unread = static_cast<std::int32_t>(ask.tokens.size() - reader.read.size());
  const std::int32_t now = std::min(unread, left);
  left -= now;
  if (now == unread) {
    return true;
  }
  if (now > 0) {
    const auto part = ask.tokens.subspan(reader.read.size(), static_cast<std::size_t>(now));
    const SequenceStep step{.tokens = part,
                            .start = static_cast<std::int32_t>(reader.read.size()),
                            .pages = reader.pages};
    if (run_round(std::span(&step, 1))) {
      reader.read.insert(reader.read.end(), part.begin(), part.end());
    }
  }
  return false;
}

bool Drafter::make_room(Reader& reader, std::size_t tokens) {
  const auto page = static_cast<std::size_t>(info_.page_tokens);
  const std::size_t needed = (tokens + page - 1) / page;
  while (reader.pages.size() < needed) {
    if (free_.empty() && !release_idle()) {
      return false;
    }
    reader.pages.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

// Takes the pages of whoever was not wanted for longest; what is in them has to be read again.
bool Drafter::release_idle() {
  Reader* oldest = nullptr;
  for (auto& [_, reader] : readers_) {
    if (!reader.pages.empty() && reader.used < round_ &&
        (oldest == nullptr || reader.used < oldest->used)) {
      oldest = &reader;
    }
  }
  if (oldest != nullptr) {
    release(*oldest);
  }
  return oldest != nullptr;
}

void Drafter::release(Reader& reader) {
  free_.insert(free_.end(), reader.pages.begin(), reader.pages.end());
  reader.pages.clear();
  reader.read.clear();
}

void Drafter::forget(SequenceId id) {
  const auto found = readers_.find(id);
  if (found != readers_.end()) {
    release(found->second);
    readers_.erase(found);
  }
}

bool Drafter::run_round(std::span<const SequenceStep> batch) {
  std::size_t rows = 0;
  for (const SequenceStep& step : batch) {
    rows += static_cast<std::size_t>(step.logit_rows);
  }
  Result<void> done;
  try {
    logits_.resize(rows * static_cast<std::size_t>(info_.vocab_size));
    done = runner_->run(batch, logits_);
  } catch (const std::bad_alloc&) {
    done = fail(ErrorCode::kResourceExhausted, "out of memory");
  }
  if (!done) {
    broken_ = true;
    log(LogLevel::kError,
        "the draft model failed and is not asked any more",
        {{"error", done.error().message}});
  }
  return !broken_;
}

}  // namespace genesis::engine
