// The ring: what it took is there after kill -9, and nothing else ever is.
#include "ledger/intent_ring.h"

#include "base/random.h"
#include "ledger/intent.h"
#include "ledger/savings.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "ledger/write_queue.h"
#include "store/fault_vfs.h"

#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <deque>
#include <fstream>
#include <functional>
#include <future>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace genesis::ledger {

namespace {

constexpr std::uint64_t kSlots = 256;

std::unique_ptr<IntentRing> open_ring(const std::filesystem::path& path) {
  auto ring = IntentRing::open(path, kSlots);
  EXPECT_TRUE(ring) << ring.error().message;
  return ring ? std::move(*ring) : nullptr;
}

std::vector<std::string> texts(const std::vector<RingRecord>& records) {
  std::vector<std::string> out;
  for (const RingRecord& record : records) {
    out.push_back(record.bytes);
  }
  return out;
}

TEST(IntentRing, GivesBackWhatIsNotReleased) {
  const TestFolder folder;
  std::vector<std::string> written;
  std::uint64_t middle = 0;
  {
    auto ring = open_ring(folder / "r");
    EXPECT_TRUE(ring->blank());
    EXPECT_TRUE(ring->read_after(0).empty());
    for (int i = 0; i < 20; ++i) {
      written.emplace_back(static_cast<std::size_t>(i) * 97, static_cast<char>('a' + i));
      middle = i == 9 ? ring->append(written.back()).value() : middle;
      if (i != 9) {
        ASSERT_TRUE(ring->append(written.back()));
      }
    }
  }
  auto ring = open_ring(folder / "r");
  EXPECT_FALSE(ring->blank());
  EXPECT_EQ(texts(ring->read_after(0)), written);
  EXPECT_EQ(ring->lost_slots(), 0U);
  ring.reset();
  ring = open_ring(folder / "r");
  written.erase(written.begin(), written.begin() + 10);
  EXPECT_EQ(texts(ring->read_after(middle)), written);
  EXPECT_EQ(ring->lost_slots(), 0U);
}

TEST(IntentRing, GoesRoundAndRefusesWhenFull) {
  const TestFolder folder;
  const std::uint64_t seed = 5;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  auto ring = open_ring(folder / "r");
  EXPECT_TRUE(ring->read_after(0).empty());
  std::deque<std::pair<std::uint64_t, std::string>> held;
  int refused = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string bytes(random.below(1'500), static_cast<char>('a' + i % 26));
    const auto position = ring->append(bytes);
    if (position) {
      held.emplace_back(*position, std::move(bytes));
    } else {
      ++refused;
      EXPECT_EQ(position.error().code, ErrorCode::kResourceExhausted);
    }
    while (!held.empty() && (!position || random.below(40) == 0)) {
      ring->release(held.front().first);
      held.pop_front();
      if (random.below(8) == 0) {
        break;
      }
    }
  }
  EXPECT_GT(refused, 3);
  EXPECT_FALSE(ring->append(std::string(kSlots * IntentRing::kSlotBytes, 'x')));
  const std::uint64_t applied = held.empty() ? 0 : held.front().first;
  ring.reset();
  ring = open_ring(folder / "r");
  const auto records = ring->read_after(applied);
  ASSERT_FALSE(held.empty());
  held.pop_front();
  ASSERT_EQ(records.size(), held.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].bytes, held[i].second);
  }
}

// Whatever a byte becomes, a record is given back as it was or not at all.
TEST(IntentRing, DamagedRecordsAreLeftOut) {
  const TestFolder folder;
  const std::uint64_t seed = 6;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  std::vector<std::string> written;
  {
    auto ring = open_ring(folder / "r");
    EXPECT_TRUE(ring->read_after(0).empty());
    for (int i = 0; i < 30; ++i) {
      written.push_back(std::string(random.below(1'200), static_cast<char>('a' + i % 26)) + "end" +
                        std::to_string(i));
      ASSERT_TRUE(ring->append(written.back()));
    }
  }
  std::ifstream in(folder / "r", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  for (int round = 0; round < 400; ++round) {
    std::string bad = good;
    for (std::uint64_t i = 0; i <= random.below(4); ++i) {
      const std::size_t at = 4096 + random.below(60 * IntentRing::kSlotBytes);
      bad[at] = static_cast<char>(random.next());
    }
    std::ofstream(folder / "bad", std::ios::binary) << bad;
    auto ring = open_ring(folder / "bad");
    for (const std::string& text : texts(ring->read_after(0))) {
      EXPECT_NE(std::ranges::find(written, text), written.end());
    }
    EXPECT_TRUE(ring->append("next"));
  }
}

TEST(IntentRing, AFileThatIsNoRingIsSetAside) {
  const TestFolder folder;
  const std::string garbage(10'000, 'g');
  for (const std::string& content : {std::string(), garbage}) {
    std::ofstream(folder / "r", std::ios::binary) << content;
    auto ring = open_ring(folder / "r");
    ASSERT_TRUE(ring);
    EXPECT_TRUE(ring->replaced());
    EXPECT_TRUE(std::filesystem::exists(folder / "r.damaged"));
    EXPECT_TRUE(ring->append("x"));
    ring.reset();
    std::filesystem::remove(folder / "r");
  }
  std::filesystem::create_symlink("/dev/zero", folder / "link");
  EXPECT_TRUE(open_ring(folder / "link")) << "a link is replaced, not followed";
}

TEST(IntentRing, HasOneOwner) {
  const TestFolder folder;
  auto ring = open_ring(folder / "r");
  const auto second = IntentRing::open(folder / "r", kSlots);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

Intent sample() {
  Intent intent;
  intent.entry.unix_ms = kNoon;
  intent.entry.kind = kind::kPost;
  intent.entry.request_id = "req-1";
  intent.entry.attempt = 3;
  intent.entry.note = std::string("a\0b", 3);
  intent.entry.amount_nano = 12;
  intent.entry.input = 5;
  intent.held_ms = -1;
  intent.held_nano = 99;
  intent.prices.push_back(*PriceTable::defaults().find("gpt-4o", kNoon));
  return intent;
}

TEST(Intent, SurvivesItsEncoding) {
  const Intent intent = sample();
  const std::string bytes = encode_intent(intent);
  const auto back =
      decode_intent({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->entry.compute_hash(), intent.entry.compute_hash());
  EXPECT_EQ(back->held_ms, -1);
  EXPECT_EQ(back->held_nano, 99);
  ASSERT_EQ(back->prices.size(), 1U);
  EXPECT_EQ(back->prices[0].compute_id(), intent.prices[0].id);
}

TEST(Intent, HostileBytesAreRefused) {
  const std::uint64_t seed = 7;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  const std::string good = encode_intent(sample());
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_FALSE(decode_intent({reinterpret_cast<const std::uint8_t*>(good.data()), cut}));
  }
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    for (std::uint64_t n = 0; n <= random.below(3); ++n) {
      bad[random.below(bad.size())] = static_cast<char>(random.next());
    }
    [[maybe_unused]] const auto decoded =
        decode_intent({reinterpret_cast<const std::uint8_t*>(bad.data()), bad.size()});
  }
}

std::unique_ptr<store::Database> open_guest(const std::filesystem::path& path) {
  auto options = ledger_options(path);
  options.mode = store::OpenMode::kGuest;
  auto database = store::Database::open(std::move(options));
  EXPECT_TRUE(database) << database.error().message;
  return database ? std::move(*database) : nullptr;
}

// Runs `work` in a process that dies without a word at its end.
void in_a_process_that_dies(const std::function<void()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    work();
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST(IntentRing, AcknowledgedRowsOfAKilledProcessAreBookedAtTheNextStart) {
  const TestFolder folder;
  in_a_process_that_dies([&] {
    TestLedger t(folder / "l.db", true);
    // Another connection's lock keeps the rows from the database.
    auto other = open_guest(folder / "l.db");
    std::promise<void> locked;
    other->submit(
        [&](store::Transaction&) -> Result<void> {
          locked.set_value();
          std::this_thread::sleep_for(std::chrono::seconds(30));
          return {};
        },
        [](const Result<void>&) {});
    locked.get_future().wait();
    for (int i = 0; i < 50; ++i) {
      const std::string id = "r" + std::to_string(i);
      ASSERT_TRUE(t.reserve(own_reservation(id, 1)));
      if (i % 2 == 0) {
        ASSERT_TRUE(t.post({id, 1}, delivered({.input = 10, .output = i})));
      }
    }
    ::kill(::getpid(), SIGKILL);
  });
  for (int start = 0; start < 2; ++start) {
    TestLedger t(folder / "l.db", true);
    EXPECT_EQ(t.ledger->replayed(), start == 0 ? 75 : 0);
    EXPECT_EQ(t.ledger->recovered(), start == 0 ? 25 : 0);
    const auto report = verify_rows(*t.database);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->rows_by_kind.at("post"), 25);
    EXPECT_EQ(report->rows_by_kind.at("unconfirmed"), 25);
  }
}

// SQLite's word for a sync that failed (SQLITE_IOERR_FSYNC).
constexpr int kSyncFailed = 1034;

TEST(IntentRing, ADiskThatFailsStopsPaidAttemptsOnly) {
  const TestFolder folder;
  auto settings = ledger_options(folder / "l.db");
  settings.vfs = store::fault_vfs_name();
  auto database = store::Database::open(std::move(settings)).value();
  const ManualClock clock(kNoon);
  MetricsRegistry metrics;
  auto options = test_options();
  options.ring = folder / "l.db.ring";
  auto ledger = SqlLedger::open(*database, clock, metrics, options).value();
  store::arm_fault({.operation = store::FaultOperation::kSync,
                    .result = kSyncFailed,
                    .countdown = 0,
                    .repeat = 1'000'000});
  EXPECT_TRUE(run_task(ledger->reserve(reservation("first", 1))))
      << "nobody knows yet, and the ring has it";
  EXPECT_FALSE(run_task(ledger->flush()));
  EXPECT_FALSE(run_task(ledger->reserve(reservation("paid", 1))));
  for (int i = 0; i < 20; ++i) {
    const std::string id = "own" + std::to_string(i);
    EXPECT_TRUE(run_task(ledger->reserve(own_reservation(id, 1))));
    EXPECT_TRUE(run_task(ledger->post({id, 1}, delivered({.input = 1}))));
  }
  EXPECT_FALSE(run_task(ledger->flush()));
  store::disarm_fault();
  ASSERT_TRUE(run_task(ledger->flush())) << "what was acknowledged was kept";
  const auto report = verify_rows(*database);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->rows_by_kind.at("post"), 20);
  EXPECT_EQ(report->open_attempts, 1) << "the first one, not the one that was refused";
  EXPECT_TRUE(run_task(ledger->reserve(reservation("paid again", 1))));
}

// A ledger whose ring is synced by the test, on a database whose syncs may be made to fail.
struct SyncedLedger {
  explicit SyncedLedger(const std::filesystem::path& path, std::function<int(int)> sync) {
    auto settings = ledger_options(path);
    settings.vfs = store::fault_vfs_name();
    database = store::Database::open(std::move(settings)).value();
    auto options = test_options();
    options.ring = path.string() + ".ring";
    options.ring_sync = std::move(sync);
    ledger = SqlLedger::open(*database, clock, metrics, options).value();
  }

  Result<void> reserve(const std::string& id) {
    return run_task(ledger->reserve(reservation(id, 1)));
  }

  ManualClock clock{kNoon};
  MetricsRegistry metrics;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<SqlLedger> ledger;
};

TEST(IntentRing, PaidReservationsOfAMomentShareOneSync) {
  const TestFolder folder;
  std::atomic<int> syncs{0};
  SyncedLedger t(folder / "l.db", [&](int fd) {
    ++syncs;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return ::fdatasync(fd);
  });
  boost::asio::io_context io;
  int done = 0;
  for (int i = 0; i < 200; ++i) {
    boost::asio::co_spawn(
        io,
        [&, i]() -> Task<void> {
          EXPECT_TRUE(co_await t.ledger->reserve(reservation(std::to_string(i), 1)));
          ++done;
        },
        boost::asio::detached);
  }
  io.run();
  EXPECT_EQ(done, 200);
  EXPECT_GE(syncs, 1);
  EXPECT_LE(syncs, 20);
  ASSERT_TRUE(run_task(t.ledger->flush()));
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("reserve"), 200);
}

// What the overload ladder looks at: a disk that is stuck shows while it is stuck.
TEST(IntentRing, AReservationThatWaitsForTheDiskShowsHowLong) {
  const TestFolder folder;
  std::promise<void> go;
  SyncedLedger t(folder / "l.db", [&](int fd) {
    go.get_future().wait();
    return ::fdatasync(fd);
  });
  EXPECT_EQ(t.ledger->longest_wait().count(), 0);
  boost::asio::io_context io;
  boost::asio::co_spawn(
      io,
      [&]() -> Task<void> { EXPECT_TRUE(co_await t.ledger->reserve(reservation("a", 1))); },
      boost::asio::detached);
  io.poll();
  t.clock.advance(std::chrono::seconds(3));
  EXPECT_EQ(t.ledger->longest_wait(), std::chrono::seconds(3));
  go.set_value();
  io.restart();
  io.run();
  EXPECT_EQ(t.ledger->longest_wait().count(), 0);
}

TEST(IntentRing, TheDatabasesLagShowsWhileItIsAway) {
  const TestFolder folder;
  SyncedLedger t(folder / "l.db", ::fdatasync);
  ASSERT_TRUE(run_task(t.ledger->flush()));
  EXPECT_EQ(t.ledger->lag().count(), 0);
  store::arm_fault({.operation = store::FaultOperation::kSync,
                    .result = kSyncFailed,
                    .countdown = 0,
                    .repeat = 1'000'000});
  auto own = reservation("own", 1);
  own.tier = Tier::kSelfHosted;
  EXPECT_TRUE(run_task(t.ledger->reserve(own)));
  t.clock.advance(std::chrono::seconds(60));
  EXPECT_EQ(t.ledger->lag(), std::chrono::seconds(60))
      << "acknowledged, and still only in the ring";
  store::disarm_fault();
  ASSERT_TRUE(run_task(t.ledger->flush()));
  EXPECT_EQ(t.ledger->lag().count(), 0);
}

// After a sync that failed nobody knows what is on the disk, whatever the next one says.
TEST(IntentRing, ARingWhoseSyncFailedIsNeverTrustedAgain) {
  const TestFolder folder;
  std::atomic<int> syncs{0};
  SyncedLedger t(folder / "l.db", [&](int) {
    ++syncs;
    errno = EIO;
    return syncs == 1 ? -1 : 0;
  });
  EXPECT_TRUE(t.reserve("first")) << "its commit tells it";
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("reserve"), 1);
  for (int i = 0; i < 5; ++i) {
    const std::string id = std::to_string(i);
    EXPECT_TRUE(t.reserve(id));
    EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("reserve"), i + 2)
        << "acknowledged by the commit";
  }
  EXPECT_EQ(syncs, 1);
  store::arm_fault({.operation = store::FaultOperation::kSync,
                    .result = kSyncFailed,
                    .countdown = 0,
                    .repeat = 1'000'000});
  EXPECT_FALSE(t.reserve("refused"));
  store::disarm_fault();
  EXPECT_NE(t.metrics.expose().find("genesis_ledger_ring_sync_failures_total 1"),
            std::string::npos);
}

TEST(IntentRing, APaidReservationIsRefusedWhenSyncAndCommitFail) {
  const TestFolder folder;
  SyncedLedger t(folder / "l.db", [](int) {
    errno = EIO;
    return -1;
  });
  store::arm_fault({.operation = store::FaultOperation::kSync,
                    .result = kSyncFailed,
                    .countdown = 0,
                    .repeat = 1'000'000});
  EXPECT_FALSE(t.reserve("lost"));
  store::disarm_fault();
  ASSERT_TRUE(run_task(t.ledger->flush()));
  EXPECT_FALSE(verify_rows(*t.database).value().rows_by_kind.contains("reserve"));
}

// A quiet gateway finds out first whether its database is still there.
TEST(IntentRing, AfterASecondWithoutACommitAPaidReservationWaitsForOne) {
  const TestFolder folder;
  std::atomic<int> syncs{0};
  SyncedLedger t(folder / "l.db", [&](int fd) {
    ++syncs;
    return ::fdatasync(fd);
  });
  EXPECT_TRUE(t.reserve("a"));
  ASSERT_TRUE(run_task(t.ledger->flush()));
  const int before = syncs;
  t.clock.advance(kCommitTrust + std::chrono::milliseconds(1));
  EXPECT_TRUE(t.reserve("b"));
  EXPECT_EQ(syncs, before);
  EXPECT_TRUE(t.reserve("c"));
  EXPECT_EQ(syncs, before + 1) << "the commit was just now";
  t.clock.advance(kCommitTrust + std::chrono::milliseconds(1));
  ASSERT_TRUE(run_task(t.ledger->flush()));
  t.clock.advance(kCommitTrust + std::chrono::milliseconds(1));
  store::arm_fault({.operation = store::FaultOperation::kSync,
                    .result = kSyncFailed,
                    .countdown = 0,
                    .repeat = 1'000'000});
  EXPECT_FALSE(t.reserve("d"));
  store::disarm_fault();
}

// What is durable in the ring is a debt: a budget that came meanwhile cannot undo it.
TEST(IntentRing, ABudgetThatComesLaterDoesNotRefuseAnAcknowledgedReservation) {
  const TestFolder folder;
  SyncedLedger t(folder / "l.db", ::fdatasync);
  std::promise<void> locked;
  std::promise<void> go;
  auto guest = open_guest(folder / "l.db");
  guest->submit(
      [&](store::Transaction& tx) -> Result<void> {
        locked.set_value();
        go.get_future().wait();
        return sync_file_budgets(tx, {{.scope = BudgetScope::kAll, .limit = 1}}, t.clock.unix_ms());
      },
      [](const Result<void>&) {});
  locked.get_future().wait();
  EXPECT_TRUE(t.reserve("before"));
  go.set_value();
  ASSERT_TRUE(run_task(t.ledger->flush()));
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("reserve"), 1);
  EXPECT_EQ(t.reserve("after").error().code, ErrorCode::kBudgetExhausted);
}

TEST(IntentRing, AnotherDatabasesRingIsNotBooked) {
  const TestFolder folder;
  in_a_process_that_dies([&] {
    TestLedger t(folder / "l.db", true);
    ASSERT_TRUE(t.reserve(own_reservation("r", 1)));
  });
  std::filesystem::rename(folder / "l.db.ring", folder / "other.db.ring");
  TestLedger t(folder / "other.db", true);
  EXPECT_EQ(t.ledger->replayed(), 0);
  EXPECT_FALSE(verify_rows(*t.database).value().rows_by_kind.contains("reserve"));
  EXPECT_TRUE(std::filesystem::exists(folder / "other.db.ring.damaged"));
}

TEST(IntentRing, AFullRingMakesTheCallerWaitInsteadOfLosing) {
  const TestFolder folder;
  auto database = open_database(folder / "l.db");
  ManualClock clock(kNoon);
  MetricsRegistry metrics;
  auto options = test_options();
  options.ring = folder / "ring";
  options.ring_slots = kSlots;
  auto ledger = SqlLedger::open(*database, clock, metrics, options).value();
  boost::asio::io_context io;
  int done = 0;
  for (int i = 0; i < 3'000; ++i) {
    boost::asio::co_spawn(
        io,
        [&, i]() -> Task<void> {
          const std::string id = std::to_string(i);
          EXPECT_TRUE(co_await ledger->reserve(own_reservation(id, 1)));
          EXPECT_TRUE(co_await ledger->post({id, 1}, delivered({.input = 1})));
          ++done;
        },
        boost::asio::detached);
  }
  io.run();
  EXPECT_EQ(done, 3'000);
  ASSERT_TRUE(run_task(ledger->flush()));
  const auto report = verify_rows(*database).value();
  EXPECT_EQ(report.rows_by_kind.at("reserve"), 3'000);
  EXPECT_EQ(report.rows_by_kind.at("post"), 3'000);
}

}  // namespace

}  // namespace genesis::ledger
