// Power cuts: what a disk holds when the power goes is everything that was synced and any part of
// the rest. The database's files and the ring are rebuilt from that at random moments, before,
// during and after the syncs of either; each time the chain is whole and every acknowledged row of
// a paid attempt is there.
//
// GENESIS_POWER_CUTS=10000 ledger_test --gtest_filter='PowerCut.*' is the long form.
#include "base/random.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "store/fault_vfs.h"

#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace genesis::ledger {

namespace {

constexpr int kCuts = 150;
constexpr int kCutsPerFolder = 10;
constexpr std::size_t kSector = 512;
constexpr std::size_t kPage = 4096;

struct Acknowledged {
  bool paid = false;
  std::optional<NanoUsd> cost;  // posted
};

using Books = std::map<std::string, Acknowledged>;

// What happened to one file since its last sync.
struct Change {
  bool truncate = false;
  std::size_t offset = 0;
  std::string bytes;
};

struct DiskFile {
  std::string durable;
  std::vector<Change> pending;
};

void apply(std::string& content, const Change& change, std::size_t count) {
  if (change.truncate) {
    content.resize(change.offset);
    return;
  }
  content.resize(std::max(content.size(), change.offset + count));
  content.replace(change.offset, count, change.bytes, 0, count);
}

struct Cut {
  std::map<std::string, DiskFile> files;  // by file name
  std::string ring;                       // as the kernel has it
  std::string durable_ring;               // as it was when its last whole sync began
  Books books;
};

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Follows the files through the VFS, and the ring through its syncs, and keeps what a cut at the
// planned operation would leave.
class Disk {
 public:
  explicit Disk(std::filesystem::path ring) : ring_(std::move(ring)) {
    store::observe_files([this](const store::FileEvent& event) { see(event); });
  }

  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  ~Disk() { store::observe_files({}); }

  void cut_after(std::uint64_t operations) {
    const std::lock_guard lock(mutex_);
    countdown_ = operations;
    cut_.reset();
  }

  std::optional<Cut> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(cut_, std::nullopt);
  }

  // In place of fdatasync: what was in the file when it began is durable at its end.
  int sync_ring() {
    std::string begun = read_all(ring_);
    {
      const std::lock_guard lock(mutex_);
      count();
    }
    // The disk takes its time: rows come in meanwhile that this sync does not cover.
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    const std::lock_guard lock(mutex_);
    if (!std::getenv("MUT")) {
      durable_ring_ = std::move(begun);
    }
    ++ring_syncs_;
    count();
    return 0;
  }

  std::int64_t ring_syncs() {
    const std::lock_guard lock(mutex_);
    return ring_syncs_;
  }

  void acknowledge(const std::string& request, const Acknowledged& what) {
    const std::lock_guard lock(mutex_);
    books_[request] = what;
  }

 private:
  void see(const store::FileEvent& event) {
    if (event.file.ends_with("-journal")) {
      return;  // of the database's creation; it is deleted before the first cut
    }
    const std::lock_guard lock(mutex_);
    DiskFile& file = files_[std::filesystem::path(event.file).filename().string()];
    switch (event.operation) {
      case store::FaultOperation::kWrite:
        file.pending.push_back(
            {.offset = static_cast<std::size_t>(event.offset), .bytes = std::string(event.bytes)});
        break;
      case store::FaultOperation::kTruncate:
        file.pending.push_back(
            {.truncate = true, .offset = static_cast<std::size_t>(event.offset), .bytes = {}});
        break;
      case store::FaultOperation::kSync:
        for (const Change& change : file.pending) {
          apply(file.durable, change, change.bytes.size());
        }
        file.pending.clear();
        break;
    }
    count();
  }

  void count() {
    if (countdown_ > 0 && --countdown_ == 0) {
      cut_ = Cut{files_, read_all(ring_), durable_ring_, books_};
    }
  }

  const std::filesystem::path ring_;
  std::mutex mutex_;
  std::map<std::string, DiskFile> files_;
  std::string durable_ring_;
  std::int64_t ring_syncs_ = 0;
  Books books_;
  std::uint64_t countdown_ = 0;
  std::optional<Cut> cut_;
};

// Any of the unsynced changes may have reached the disk, whole, torn or not at all.
std::string after_the_cut(const DiskFile& file, Random& random) {
  std::string content = file.durable;
  for (const Change& change : file.pending) {
    const std::uint64_t fate = random.below(4);
    const std::size_t torn = random.below(change.bytes.size() / kSector + 1) * kSector;
    if (fate < 3) {
      apply(content, change, fate == 2 ? torn : change.bytes.size());
    }
  }
  return content;
}

// Of the ring's pages each is as it is now, or as it was synced, or the first sectors of the one
// and the rest of the other. The file's header was synced when it was made.
std::string ring_after_the_cut(const Cut& cut, Random& random) {
  std::string content = cut.ring;
  const std::string& durable = cut.durable_ring;
  for (std::size_t at = kPage; at < content.size(); at += kPage) {
    const std::size_t size = std::min(kPage, content.size() - at);
    const std::uint64_t fate = random.below(4);
    const std::size_t from = fate == 0   ? size
                             : fate == 1 ? random.below(size / kSector + 1) * kSector
                                         : 0;
    content.replace(
        at + from,
        size - from,
        durable.empty() ? std::string(size - from, '\0') : durable.substr(at + from, size - from));
  }
  return content;
}

struct Totals {
  std::int64_t attempts = 0;
  std::int64_t unconfirmed = 0;
  std::int64_t lost_own = 0;
  std::int64_t ring_syncs = 0;
};

void check_attempt(store::Transaction& tx,
                   const std::string& request,
                   const Acknowledged& told,
                   Totals& totals) {
  auto select =
      tx.prepare("SELECT kind, amount_nano FROM entries WHERE request_id = ?1 ORDER BY seq");
  ASSERT_TRUE(select);
  bool row = select->bind(1, request).step().value_or(false);
  ++totals.attempts;
  if (!row && !told.paid) {
    ++totals.lost_own;
    return;
  }
  ASSERT_TRUE(row) << request << ": an acknowledged paid reservation is gone";
  EXPECT_EQ(select->text(0), "reserve");
  row = select->step().value_or(false);
  ASSERT_TRUE(row) << request << " has no end";
  const bool unconfirmed = select->text(0) == "unconfirmed";
  totals.unconfirmed += unconfirmed ? 1 : 0;
  if (told.cost && unconfirmed) {
    EXPECT_GE(select->integer(1), *told.cost) << request;
  } else if (told.cost) {
    EXPECT_EQ(select->text(0), "post") << request;
    EXPECT_EQ(select->integer(1), *told.cost) << request;
  }
}

void check(const std::filesystem::path& path, const Books& books, Totals& totals) {
  TestLedger t(path, true);
  ASSERT_TRUE(t.ledger);
  const auto report = verify_rows(*t.database);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->open_attempts, 0);
  ASSERT_TRUE(t.database->read([&](store::Transaction& tx) -> Result<void> {
    for (const auto& [request, told] : books) {
      check_attempt(tx, request, told, totals);
    }
    return {};
  }));
}

Task<void> work(SqlLedger& ledger, Disk& disk, int first, const std::atomic<bool>& stop) {
  for (int request = first; !stop; request += 4) {
    const std::string id = std::to_string(request);
    const bool paid = request % 2 == 0;
    EXPECT_TRUE(co_await ledger.reserve(paid ? reservation(id, 1) : own_reservation(id, 1)));
    disk.acknowledge(id, {.paid = paid, .cost = {}});
    const auto outcome = delivered({.input = request % 977, .output = request % 89});
    const auto posted = co_await ledger.post({id, 1}, outcome);
    EXPECT_TRUE(posted);
    disk.acknowledge(id, {.paid = paid, .cost = posted->cost});
    if (!paid) {
      // Rows of our own never wait by themselves and would fill the ring, so that no paid one could
      // rely on it.
      boost::asio::steady_timer pause(co_await boost::asio::this_coro::executor,
                                      std::chrono::microseconds(200));
      co_await pause.async_wait(boost::asio::use_awaitable);
    }
  }
}

// Several cuts in the life of one database.
void cut_in_one_folder(const std::filesystem::path& parent,
                       int cuts,
                       Random& random,
                       Totals& totals) {
  const TestFolder folder(parent);
  Disk disk(folder / "l.db.ring");
  auto options = ledger_options(folder / "l.db");
  options.vfs = store::fault_vfs_name();
  options.checkpoint_frames = 60;
  auto database = store::Database::open(std::move(options)).value();
  const ManualClock clock(kNoon);
  MetricsRegistry metrics;
  auto ledger_settings = test_options();
  ledger_settings.ring = folder / "l.db.ring";
  ledger_settings.ring_slots = 512;
  ledger_settings.ring_sync = [&disk](int) { return disk.sync_ring(); };
  auto ledger = SqlLedger::open(*database, clock, metrics, ledger_settings).value();
  boost::asio::io_context io;
  std::atomic<bool> stop{false};
  for (int i = 0; i < 4; ++i) {
    boost::asio::co_spawn(io, work(*ledger, disk, i, stop), boost::asio::detached);
  }
  for (int i = 0; i < cuts && !testing::Test::HasFatalFailure(); ++i) {
    disk.cut_after(1 + random.below(120));
    std::optional<Cut> cut;
    while (!(cut = disk.take())) {
      io.run_one();
    }
    const TestFolder after(parent);
    for (const auto& [name, file] : cut->files) {
      std::ofstream(after / name, std::ios::binary) << after_the_cut(file, random);
    }
    std::ofstream(after / "l.db.ring", std::ios::binary) << ring_after_the_cut(*cut, random);
    check(after / "l.db", cut->books, totals);
  }
  stop = true;
  io.run();
  totals.ring_syncs += disk.ring_syncs();
}

TEST(PowerCut, TheChainIsWholeAndPaidReservationsAreThere) {
  const char* asked = std::getenv("GENESIS_POWER_CUTS");
  const int cuts = asked != nullptr ? std::atoi(asked) : kCuts;
  const std::uint64_t seed = asked != nullptr ? static_cast<std::uint64_t>(cuts) : 99;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  // Real syncs would only make it slow.
  const std::filesystem::path memory = "/dev/shm";
  const auto parent =
      std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path();
  Totals totals;
  for (int done = 0; done < cuts && !testing::Test::HasFailure(); done += kCutsPerFolder) {
    cut_in_one_folder(parent, std::min(kCutsPerFolder, cuts - done), random, totals);
  }
  std::printf(
      "%d cuts: %lld attempts looked up, %lld unconfirmed, %lld of our own lost, "
      "%lld syncs of the ring\n",
      cuts,
      static_cast<long long>(totals.attempts),
      static_cast<long long>(totals.unconfirmed),
      static_cast<long long>(totals.lost_own),
      static_cast<long long>(totals.ring_syncs));
  EXPECT_GT(totals.unconfirmed, 0);
  EXPECT_GT(totals.ring_syncs, cuts);
}

}  // namespace

}  // namespace genesis::ledger
