// Ticketed thread pool: spin for a moment, yield for a while, then sleep.
#include "model/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace genesis::model {
namespace {

// Stages follow each other within a microsecond or two; 400 pauses are about 10 us on current
// cores.
constexpr int kSpins = 400;
// Between steps the engine samples and hands out tokens; yielding bridges that without a wake-up
// and gives the core away when somebody else wants it.
constexpr int kYields = 100;
// A helper is late when it keeps the caller waiting for longer than this and than a few items: far
// above what cores of their own ever need, below the few milliseconds of a scheduler's time slice.
constexpr std::chrono::microseconds kLate{300};
constexpr int kLateItems = 4;
// Jobs done alone after the first delay (a third of a token of a 30-layer model), at most (twenty
// tokens), and how many jobs in time make an earlier delay forgotten.
constexpr int kSoloFirst = 50;
constexpr int kSoloMost = 3000;
constexpr int kForgetAfter = 300;
// An item that no job has.
constexpr std::uint32_t kClosed = 0xFFFFFFFF;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : solo_next_(kSoloFirst) {
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back([this, i] { work(i); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
}

void ThreadPool::run_items(int items, void* context, Function function) {
  if (workers_.empty() || items <= 1 || solo_jobs_ > 0) {
    solo_jobs_ = std::max(0, solo_jobs_ - 1);
    for (int i = 0; i < items; ++i) {
      function(context, i, 0);
    }
    return;
  }
  const std::uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  // Closed first: a late worker that sees the next job's items but holds the last job's ticket
  // would otherwise win an item that the last job never had. It reads what is stored below with
  // acquire, so its exchange comes after this store and fails.
  ticket_.store((std::uint64_t{generation - 1} << 32) | kClosed, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  function_.store(function, std::memory_order_release);
  context_.store(context, std::memory_order_release);
  items_.store(static_cast<std::uint32_t>(items), std::memory_order_release);
  ticket_.store(std::uint64_t{generation} << 32, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  const Clock::time_point start = Clock::now();
  const std::uint32_t own = take_items(generation, 0);
  wait_until_done(static_cast<std::uint32_t>(items), (Clock::now() - start) / std::max(own, 1U));
}

void ThreadPool::wait_until_done(std::uint32_t items, Clock::duration item_time) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (done_.load(std::memory_order_acquire) == items) {
      solo_next_ = ++in_time_ >= kForgetAfter ? kSoloFirst : solo_next_;
      return;
    }
    pause();
  }
  const Clock::time_point start = Clock::now();
  while (done_.load(std::memory_order_acquire) != items) {
    sched_yield();
  }
  if (Clock::now() - start > std::max<Clock::duration>(kLate, kLateItems * item_time)) {
    solo_jobs_ = solo_next_;
    solo_next_ = std::min(2 * solo_next_, kSoloMost);
    in_time_ = 0;
  }
}

std::uint32_t ThreadPool::take_items(std::uint32_t generation, int thread) {
  std::uint32_t finished = 0;
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (ticket >> 32 == generation) {
    const auto item = static_cast<std::uint32_t>(ticket);
    const Function function = function_.load(std::memory_order_acquire);
    void* context = context_.load(std::memory_order_acquire);
    if (item >= items_.load(std::memory_order_acquire)) {
      break;
    }
    // Success proves that the generation is still current, hence that the job read above is its.
    if (ticket_.compare_exchange_weak(
            ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      function(context, static_cast<int>(item), thread);
      ++finished;
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }
  if (finished > 0) {
    done_.fetch_add(finished, std::memory_order_release);
  }
  return finished;
}

std::uint32_t ThreadPool::wait_for_next(std::uint32_t seen) const {
  for (int i = 0; i < kSpins + kYields; ++i) {
    const std::uint32_t now = generation_.load(std::memory_order_acquire);
    if (now != seen) {
      return now;
    }
    if (i < kSpins) {
      pause();
    } else {
      sched_yield();
    }
  }
  generation_.wait(seen, std::memory_order_acquire);
  return generation_.load(std::memory_order_acquire);
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  while (true) {
    seen = wait_for_next(seen);
    if (stop_.load()) {
      return;
    }
    take_items(seen, thread);
  }
}

}  // namespace genesis::model
