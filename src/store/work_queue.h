// WorkQueue: the bounded queue between the threads that submit works and the one that commits them.
// Private to the room; safe from any thread.
#pragma once

#include "store/database.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace genesis::store {

struct Job {
  Database::Work work;
  Database::Done done;
  Urgency urgency = Urgency::kNew;
};

class WorkQueue {
 public:
  explicit WorkQueue(std::size_t max_queue) : max_queue_(max_queue) {}

  // A full or stopped queue calls the job's `done` at once with kOverloaded. Completions of begun
  // work may fill twice the room that new work may.
  void push(Job job);

  struct Round {
    std::vector<Job> jobs;
    bool quiet = false;  // nothing came for as long as was waited
    bool last = false;   // stopped, and these are the last jobs
  };

  // Waits for a job, a poke or the stop, at most `wait` if given; takes at most `max_jobs`.
  Round take(std::size_t max_jobs, std::optional<std::chrono::milliseconds> wait);

  // Makes the present or next take() return without a job.
  void poke();
  void stop();
  std::size_t size() const;

 private:
  const std::size_t max_queue_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool poked_ = false;
  bool stop_ = false;
};

}  // namespace genesis::store
