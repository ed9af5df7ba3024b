#include "store/work_queue.h"

#include <utility>

namespace genesis::store {

void WorkQueue::push(Job job) {
  const std::size_t bound = job.urgency == Urgency::kCompletion ? max_queue_ * 2 : max_queue_;
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.size() < bound && !stop_) {
      jobs_.push_back(std::move(job));
      wake_.notify_one();
      return;
    }
  }
  job.done(
      fail(ErrorCode::kOverloaded, "the database's write queue is full", "try again in a moment"));
}

WorkQueue::Round WorkQueue::take(std::size_t max_jobs,
                                 std::optional<std::chrono::milliseconds> wait) {
  std::unique_lock lock(mutex_);
  const auto something = [this] { return stop_ || poked_ || !jobs_.empty(); };
  Round round;
  if (wait) {
    round.quiet = !wake_.wait_for(lock, *wait, something);
  } else {
    wake_.wait(lock, something);
  }
  while (!jobs_.empty() && round.jobs.size() < max_jobs) {
    round.jobs.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
  }
  poked_ = false;
  round.last = stop_ && jobs_.empty();
  return round;
}

void WorkQueue::poke() {
  const std::lock_guard lock(mutex_);
  poked_ = true;
  wake_.notify_one();
}

void WorkQueue::stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  wake_.notify_all();
}

std::size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return jobs_.size();
}

}  // namespace genesis::store
