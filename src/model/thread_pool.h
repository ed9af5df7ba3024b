// A small pool for the stages of a step: work items are taken from one atomic ticket, so a thread
// that the system has put aside holds up nobody but the item it is in. The caller works too; with
// one thread nothing is started at all.
//
// Shared cores: when a helper keeps the caller waiting much longer than an item takes, somebody
// else is using its core. The caller then does the next jobs alone, for a time that doubles as long
// as helpers stay late; two threads beside a busy neighbour are therefore not slower than one.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace genesis::model {

// One caller at a time. run() returns when every item is done; what items wrote is then visible.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // the caller counts as one
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(item, thread) for each item in [0, items), in any order, thread in [0, threads()).
  template <typename Body>
  void run(int items, Body&& body) {
    run_items(items, &body, [](void* context, int item, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(item, thread);
    });
  }

  // Jobs that the caller will do alone because a helper was late; 0 when all is well.
  int solo_jobs() const { return solo_jobs_; }

 private:
  using Function = void (*)(void* context, int item, int thread);
  using Clock = std::chrono::steady_clock;

  void run_items(int items, void* context, Function function);
  void wait_until_done(std::uint32_t items, Clock::duration item_time);
  void work(int thread);
  std::uint32_t take_items(std::uint32_t generation, int thread);
  std::uint32_t wait_for_next(std::uint32_t seen) const;

  // The job of the current generation. Atomics because a late worker may read them while the next
  // job is being written; its ticket exchange then fails and it never uses what it read.
  std::atomic<Function> function_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<std::uint32_t> items_{0};
  // Generation in the high half, next item in the low half.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<std::uint32_t> done_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
  // The caller's own: how long to stay alone, how long next time, and how often all were in time.
  int solo_jobs_ = 0;
  int solo_next_;
  int in_time_ = 0;
  std::vector<std::jthread> workers_;
};

}  // namespace genesis::model
