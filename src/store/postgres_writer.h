// PostgresWriter: the thread that owns the writing connection to PostgreSQL. Group commit, one
// order among all gateways, reconnecting, and asking what became of a commit. Private to the room.
#pragma once

#include "base/random.h"
#include "base/result.h"
#include "store/database.h"
#include "store/postgres_connection.h"
#include "store/work_queue.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace genesis::store {

// Who writes: the row in store_writers that its commits are marked in.
struct WriterIdentity {
  std::string name;
  bool owner = false;  // holds the name alone, and its row stays when it goes
};

// A connection as the writer needs it: the name locked and its row there. Returns the number of the
// last batch that was committed under the name. kConflict: somebody else goes by that name.
Result<std::int64_t> enrol(PostgresConnection& connection, const WriterIdentity& identity);

class PostgresWriter {
 public:
  PostgresWriter(const DatabaseOptions& options,
                 WriterIdentity identity,
                 std::unique_ptr<PostgresConnection> connection,
                 std::int64_t last_batch);
  PostgresWriter(const PostgresWriter&) = delete;
  PostgresWriter& operator=(const PostgresWriter&) = delete;
  // Commits what is queued; gives up on a database that stays away for kFarewell.
  ~PostgresWriter();

  void submit(Job job) { queue_.push(std::move(job)); }

  DatabaseStats stats() const;

 private:
  using Clock = std::chrono::steady_clock;

  // A job from its arrival until it is told its outcome.
  struct Waiting {
    Job job;
    Clock::time_point since;
    int runs = 0;
    Result<void> result;
  };

  void run();
  void accept(std::vector<Job> jobs);
  void work_off(bool last);
  void commit_batch();
  Result<void> fill_batch(std::size_t count);
  Result<void> run_job(Job& job);
  void acknowledge(std::size_t count);
  void fail_first(std::size_t count, const Error& error);
  void refuse_waiting(const Error& error, bool last);
  Result<void> ensure_connected();
  Result<void> reconnect();
  Result<void> resolve();
  void heartbeat();
  void withdraw();
  void lose_connection(const Error& error);
  std::optional<std::chrono::milliseconds> pause() const;
  PostgresOptions connection_options() const;

  const DatabaseOptions options_;
  const WriterIdentity identity_;
  // Touched by the writer thread only.
  std::unique_ptr<PostgresConnection> connection_;
  std::int64_t batch_ = 0;  // of the last transaction we tried to commit
  std::deque<Waiting> waiting_;
  std::size_t unresolved_ = 0;  // the first so many were in a commit whose outcome is unknown
  std::chrono::milliseconds backoff_{0};
  Clock::time_point next_try_;
  Error last_error_;
  Random jitter_;

  WorkQueue queue_;
  mutable std::mutex mutex_;
  DatabaseStats stats_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace genesis::store
