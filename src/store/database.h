// Database: SQL storage with one writer thread, group commit, forward-only migrations and snapshots
// for readers. SQLite (https://sqlite.org/wal.html) or PostgreSQL stands behind it; no type of
// either is seen here. docs/decisions/009-two-engines.md has the reasons.
//
// SQLite and processes. The gateway is the owner: it holds flock(<path>.lock), migrates, and is the
// only one that checkpoints. Commands that look open read-only while it runs. A command that writes
// (key create) opens as a guest: SQLite's own lock orders the two writers, a guest never
// checkpoints, and flock(<path>.guest) keeps a guest's write and the owner's checkpoint apart,
// because SQLite before 3.51.3 can lose data when a checkpoint and another connection's write meet
// at the log's reset.
//
// Files beside <path>: -wal and -shm (SQLite's), .lock, .guest, .seal and .damage (seal.h), and
// .v<N>.bak, the backup made before a migration.
//
// PostgreSQL and gateways. Any number of owners, guests and readers, each with connections of its
// own; an advisory lock held by each writing transaction puts them into one order. A lost
// connection is opened again with growing pauses: meanwhile new works fail with kUnavailable, and
// completions wait. A commit whose answer was lost is asked for before its works are told anything.
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

  // PostgreSQL, if set: a connection URL as libpq takes it; `path` is then unused. The password is
  // given apart, so that the URL may be shown.
  std::string url;
  std::string password;
  // Names an owner among several (Database::writer()); must not be empty for one.
  std::string writer;
  std::chrono::milliseconds reply_timeout{10'000};  // an answer later than this: connection lost
  std::chrono::milliseconds patience{60'000};       // how long completions wait for the database
  std::chrono::milliseconds lease{600'000};         // > patience; an owner unseen so long is gone
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

class Backend;

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
  // A full queue calls `done` at once, on the caller's thread, with kOverloaded. A work may run
  // again when its transaction was lost: only its last run counts, so it must set what it hands
  // out, never add to it.
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

  // Several gateways may write to one PostgreSQL. Each has a name that outlives its process, and
  // a row that says when it was last seen. What a work leaves open (a reservation) should carry
  // the name, so that somebody can tell later whether its writer may still end it. Empty with
  // SQLite, where an owner follows an owner.
  const std::string& writer() const;
  // Writers not seen for DatabaseOptions::lease, as of `tx`; they end nothing any more that they
  // began before. Never oneself.
  Result<std::vector<std::string>> absent_writers(Transaction& tx) const;
  // Once everything an absent writer left open is settled.
  Result<void> forget_writer(Transaction& tx, std::string_view name) const;

  DatabaseStats stats() const;

 private:
  explicit Database(std::unique_ptr<Backend> backend);
  std::unique_ptr<Backend> backend_;
};

}  // namespace genesis::store
