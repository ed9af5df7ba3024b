// The fake model and its contract checks.
#include "engine/fake_runner.h"

#include "base/check.h"
#include "base/random.h"

#include <algorithm>
#include <limits>
#include <new>
#include <set>

namespace genesis::engine {

void FakeControl::close_gate(int more) {
  const std::scoped_lock lock(mutex_);
  passes_ = more;
}

void FakeControl::open_gate() {
  const std::scoped_lock lock(mutex_);
  passes_.reset();
  changed_.notify_all();
}

void FakeControl::pass_gate() {
  std::unique_lock lock(mutex_);
  if (passes_ && *passes_ > 0) {
    --*passes_;
    return;
  }
  at_gate_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !passes_; });
  at_gate_ = false;
}

void FakeControl::wait_until_at_gate() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return at_gate_; });
}

std::uint64_t fake_state(std::uint64_t before, std::int32_t token, std::int32_t adapter) {
  const auto both = static_cast<std::uint64_t>(token) << 17 | static_cast<std::uint64_t>(adapter)
                                                                  << 50;
  return Random(before ^ both).next();
}

void fake_logits(std::uint64_t state, std::span<float> row) {
  Random random(state);
  for (float& logit : row) {
    logit = static_cast<float>(random.uniform() * 8.0 - 4.0);
  }
}

std::uint64_t fake_source(const FakeShape& shape, std::uint64_t state, std::int32_t token) {
  return shape.circles ? static_cast<std::uint64_t>(token) : state;
}

FakeRunner::FakeRunner(const FakeShape& shape, std::shared_ptr<FakeControl> control)
    : shape_(shape),
      control_(std::move(control)),
      cache_(static_cast<std::size_t>(shape.num_pages) *
             static_cast<std::size_t>(shape.page_tokens)) {
  info_.model_name = "fake";
  info_.isa = "scalar";
  info_.vocab_size = shape.vocab_size;
  info_.max_context = shape.max_context;
  info_.page_tokens = shape.page_tokens;
  info_.num_pages = shape.num_pages;
}

namespace {

std::int32_t adapter_at(const SequenceStep& step, std::int32_t position) {
  return position >= step.adapter_from ? step.adapter : 0;
}

}  // namespace

FakeRunner::Cell& FakeRunner::cell(std::span<const std::int32_t> pages, std::int32_t position) {
  const auto page = pages[static_cast<std::size_t>(position / info_.page_tokens)];
  return cache_[static_cast<std::size_t>(page * info_.page_tokens + position % info_.page_tokens)];
}

void FakeRunner::check_batch(std::span<const SequenceStep> batch, std::size_t logits) const {
  std::set<std::int32_t> written_pages;
  std::set<std::int32_t> read_pages;
  std::size_t rows = 0;
  GENESIS_CHECK(!batch.empty());
  for (const SequenceStep& step : batch) {
    const auto size = static_cast<std::int32_t>(step.tokens.size());
    const auto pages = static_cast<std::int32_t>(step.pages.size());
    GENESIS_CHECK(size > 0 && step.start >= 0 && step.start + size <= info_.max_context);
    GENESIS_CHECK(step.start + size <= pages * info_.page_tokens);
    GENESIS_CHECK(step.logit_rows >= 0 && step.logit_rows <= size);
    rows += static_cast<std::size_t>(step.logit_rows);
    for (std::int32_t i = 0; i < pages; ++i) {
      const std::int32_t page = step.pages[static_cast<std::size_t>(i)];
      GENESIS_CHECK(page >= 0 && page < info_.num_pages);
      // Those with a new token are this sequence's own.
      const bool written = (i + 1) * info_.page_tokens > step.start;
      GENESIS_CHECK(!written || written_pages.insert(page).second);
      read_pages.insert(written ? -1 : page);
    }
    for (const std::int32_t token : step.tokens) {
      GENESIS_CHECK(token >= 0 && token < info_.vocab_size);
    }
  }
  for (const std::int32_t page : written_pages) {
    GENESIS_CHECK(!read_pages.contains(page));
  }
  GENESIS_CHECK(logits == rows * static_cast<std::size_t>(info_.vocab_size));
}

std::uint64_t FakeRunner::read_prefix(const SequenceStep& step) {
  std::uint64_t state = 0;
  for (std::int32_t position = 0; position < step.start; ++position) {
    const Cell& at = cell(step.pages, position);
    state = fake_state(state, at.token, adapter_at(step, position));
    GENESIS_CHECK(at.position == position && at.state == state);
  }
  return state;
}

Result<AdapterInfo> FakeRunner::load_adapter(const std::filesystem::path& folder) {
  return AdapterInfo{.id = ++control_->loaded, .content_hash = folder.string()};
}

void FakeRunner::unload_adapter(std::int32_t /*id*/) {
  ++control_->unloaded;
}

Result<void> FakeRunner::run(std::span<const SequenceStep> batch, std::span<float> logits) {
  control_->pass_gate();
  check_batch(batch, logits.size());
  ++control_->steps;
  control_->largest_batch =
      std::max(control_->largest_batch.load(), static_cast<int>(batch.size()));
  if (control_->no_memory > 0) {
    --control_->no_memory;
    throw std::bad_alloc();
  }
  if (control_->fail_steps > 0) {
    --control_->fail_steps;
    return fail(ErrorCode::kIo, "scripted failure");
  }
  int prompt_tokens = 0;
  const std::span<float> all = logits;
  for (const SequenceStep& step : batch) {
    std::uint64_t state = read_prefix(step);
    const auto size = static_cast<std::int32_t>(step.tokens.size());
    prompt_tokens += size > 1 ? size : 0;
    control_->tokens += step.tokens.size();
    for (std::int32_t i = 0; i < size; ++i) {
      const std::int32_t token = step.tokens[static_cast<std::size_t>(i)];
      state = fake_state(state, token, adapter_at(step, step.start + i));
      cell(step.pages, step.start + i) = {
          .position = step.start + i, .token = token, .state = state};
      if (i >= size - step.logit_rows) {
        const auto vocab = static_cast<std::size_t>(info_.vocab_size);
        fake_logits(fake_source(shape_, state, token), logits.first(vocab));
        logits = logits.subspan(vocab);
      }
    }
  }
  control_->most_prompt_tokens = std::max(control_->most_prompt_tokens.load(), prompt_tokens);
  if (control_->broken_logits > 0 && !all.empty()) {
    --control_->broken_logits;
    all[1] = std::numeric_limits<float>::quiet_NaN();
  }
  return {};
}

}  // namespace genesis::engine
