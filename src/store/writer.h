// Writer: the thread that owns the only writing connection to an SQLite file. Group commit,
// checkpoints, the seal, and coming back after a failed commit. Private to the room.
#pragma once

#include "base/result.h"
#include "store/database.h"
#include "store/lock_file.h"
#include "store/sqlite_connection.h"
#include "store/work_queue.h"

#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace genesis::store {

class Writer {
 public:
  // `owner` decides whether this writer checkpoints; `guest_lock` is flock(<path>.guest).
  Writer(const DatabaseOptions& options,
         bool owner,
         std::unique_ptr<SqliteConnection> connection,
         LockFile guest_lock);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  // Commits what is queued, checkpoints and closes.
  ~Writer();

  void submit(Job job) { queue_.push(std::move(job)); }

  std::future<Result<void>> request_checkpoint();
  DatabaseStats stats() const;

 private:
  void run();
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
  std::unique_ptr<SqliteConnection> connection_;
  LockFile guest_lock_;
  std::int64_t commits_ = 0;  // the counter as of our last good commit
  bool log_pending_ = true;   // the log may hold pages that are not in the file yet

  WorkQueue queue_;
  mutable std::mutex mutex_;
  std::vector<std::promise<Result<void>>> checkpoint_requests_;
  DatabaseStats stats_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace genesis::store
