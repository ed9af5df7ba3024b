// Writer: the thread that owns the only writing connection. Group commit, checkpoints, the seal,
// and coming back after a failed commit. Private to the room.
#pragma once

#include "base/result.h"
#include "store/connection.h"
#include "store/database.h"
#include "store/lock_file.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace genesis::store {

class Writer {
 public:
  // `owner` decides whether this writer checkpoints; `guest_lock` is flock(<path>.guest).
  Writer(const DatabaseOptions& options,
         bool owner,
         std::unique_ptr<Connection> connection,
         LockFile guest_lock);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  // Commits what is queued, checkpoints and closes.
  ~Writer();

  void submit(Database::Work work, Database::Done done, Urgency urgency);
  std::future<Result<void>> request_checkpoint();
  DatabaseStats stats() const;

 private:
  struct Job {
    Database::Work work;
    Database::Done done;
  };

  struct Round {
    std::vector<Job> jobs;
    std::vector<std::promise<Result<void>>> checkpoints;
    bool quiet = false;  // nothing came for a while
    bool last = false;
  };

  void run();
  Round next_round();
  void commit(std::vector<Job>& jobs);
  Result<void> transact(std::vector<Job>& jobs, std::vector<Result<void>>& results);
  Result<void> run_job(Job& job);
  Result<void> finish_transaction();
  Result<void> ensure_open();
  Result<void> reopen();
  void recover_after(const Error& error);
  void let_guest_pass();
  Result<void> checkpoint();
  Result<void> checkpoint_locked();
  Result<void> update_seal(int frames);
  void close();

  const DatabaseOptions options_;
  const bool owner_;
  // Touched by the writer thread only.
  std::unique_ptr<Connection> connection_;
  LockFile guest_lock_;
  std::int64_t commits_ = 0;  // the counter as of our last good commit
  bool log_pending_ = true;   // the log may hold pages that are not in the file yet

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::vector<std::promise<Result<void>>> checkpoint_requests_;
  bool stop_ = false;
  DatabaseStats stats_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace genesis::store
