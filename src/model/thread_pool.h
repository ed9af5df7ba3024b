// A small pool for the stages of a step: work items are taken from one atomic ticket, so a thread
// that the system has put aside holds up nobody but the item it is in. The caller works too; with one
// thread nothing is started at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
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

 private:
  using Function = void (*)(void* context, int item, int thread);

  void run_items(int items, void* context, Function function);
  void work(int thread);
  void take_items(std::uint32_t generation, int thread);
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
  std::vector<std::jthread> workers_;
};

}  // namespace genesis::model
