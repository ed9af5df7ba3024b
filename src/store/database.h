// Database: SQL storage with one writer thread, group commit, forward-only migrations and snapshots
// for readers. SQLite stands behind it (https://sqlite.org/wal.html); no type of it is seen here.
//
// Processes. The gateway is the owner: it holds flock(<path>.lock), migrates, and is the only one
// that checkpoints. Commands that look open read-only while it runs. A command that writes (key
// create) opens as a guest: SQLite's own lock orders the two writers, a guest never checkpoints,
// and flock(<path>.guest) keeps a guest's write and the owner's checkpoint apart, because SQLite
// before 3.51.3 can lose data when a checkpoint and another connection's write meet at the log's
// reset.
//
// Files beside <path>: -wal and -shm (SQLite's), .lock, .guest, .seal and .damage (seal.h), and
// .v<N>.bak, the backup made before a migration.
#pragma once

#include "base/result.h"
#include "base/task.h"
#include "store/statement.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::store {

// One room's tables. migrations[i] takes the component from version i to i + 1 and never changes
// once released; components of several rooms share one database.
struct Schema {
  std::string_view component;
  std::span<const std::string_view> migrations;
};

enum class OpenMode : std::uint8_t {
  kOwner,         // creates, migrates, writes, checkpoints; one per database
  kGuest,         // writes beside an owner; the database must exist and be up to date
  kOwnerOrGuest,  // owner if nobody else is: for short-lived commands
  kReadOnly,      // reads only, also while an owner writes
};

struct DatabaseOptions {
  std::filesystem::path path;
  OpenMode mode = OpenMode::kOwner;
  std::vector<Schema> schemas;
  std::size_t max_queue = 4096;  // waiting writes; above it kOverloaded
  std::size_t max_batch = 1024;  // writes in one commit
  int checkpoint_frames = 1000;  // log pages that start a checkpoint (SQLite's own default)
  std::chrono::milliseconds idle_checkpoint{1000};  // quiet time after which the log is emptied
  std::chrono::milliseconds busy_timeout{5000};     // wait for another process's write
  std::string vfs;  // SQLite VFS by name; tests inject faults with it
};

// Completion of a begun piece of work may use the part of the queue that new work may not.
enum class Urgency : std::uint8_t { kNew, kCompletion };

struct DatabaseStats {
  std::size_t queued = 0;
  std::uint64_t commits = 0;
  std::uint64_t failed_commits = 0;
  std::uint64_t reopened = 0;
  std::uint64_t checkpoints = 0;
};

// Safe from any thread unless a member says otherwise. Destroy it before the io context whose tasks
// await it; the destructor writes what is queued, checkpoints and seals.
class Database {
 public:
  using Work = std::function<Result<void>(Transaction&)>;
  using Done = std::function<void(Result<void>)>;

  // kConflict: another owner; kUnsupported: written by a newer version; kDataLoss: damaged, or gone
  // although its seal is there.
  static Result<std::unique_ptr<Database>> open(DatabaseOptions options);

  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // Queues `work`. The writer thread runs everything queued in one transaction, each in its own
  // savepoint, so that a work that fails undoes only itself; after the commit is on disk it calls
  // each `done` from the writer thread. A failed commit fails every work of it (kResourceExhausted,
  // kIo): none of them is acknowledged, and the connection is reopened and checked before the next.
  // A full queue calls `done` at once, on the caller's thread, with kOverloaded.
  void submit(Work work, Done done, Urgency urgency = Urgency::kNew);

  // As submit(), for coroutines: resumes on the awaiting coroutine's executor once durable. `work`
  // runs on the writer thread and may still run when the coroutine is gone: capture by value.
  Task<Result<void>> write(Work work, Urgency urgency = Urgency::kNew);

  // As submit(), waiting. Not from the writer thread.
  Result<void> write_blocking(Work work);

  // Runs `work` at once on a read-only snapshot, on the caller's thread; never waits for the
  // writer.
  Result<void> read(const Work& work) const;

  // Moves the log into the database file and seals it; a test and a shutdown want it now.
  Result<void> checkpoint();

  bool is_owner() const;
  DatabaseStats stats() const;

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace genesis::store
