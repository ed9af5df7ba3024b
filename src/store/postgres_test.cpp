// PostgreSQL's own troubles: connections that break, also inside a COMMIT, servers that stop,
// several gateways, and passwords.
#include "base/random.h"
#include "store/postgres_url.h"
#include "store/test_store.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <future>
#include <mutex>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

namespace genesis::store {

namespace {

using std::chrono::milliseconds;

// Stands between a client and the server and cuts the connection at a COMMIT, before or after the
// server has seen it.
class CuttingProxy {
 public:
  enum class Cut { kNever, kBeforeServer, kAfterServer };

  CuttingProxy() : server_(TestPostgres::shared().folder() + "/.s.PGSQL.5432") {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = address_of((folder_ / ".s.PGSQL.5432").string());
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  ~CuttingProxy() {
    stop_ = true;
    acceptor_.join();
    for (std::thread& relay : relays_) {
      relay.join();
    }
    ::close(listener_);
  }

  // The same database, through the proxy.
  std::string url(std::string direct) const {
    const std::string folder = TestPostgres::shared().folder();
    return direct.replace(direct.find(folder), folder.size(), (folder_ / "").string());
  }

  void cut_next(Cut how) { cut_ = how; }

  int cuts() const { return cuts_; }

 private:
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
  }

  void accept_all() {
    while (!stop_) {
      pollfd ready{.fd = listener_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 20) > 0) {
        const int client = ::accept(listener_, nullptr, nullptr);
        relays_.emplace_back([this, client] { relay(client); });
      }
    }
  }

  void relay(int client) {
    const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = address_of(server_);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      while (!stop_ && pass_on(client, server)) {
      }
    }
    ::close(server);
    ::close(client);
  }

  bool pass_on(int client, int server) {
    std::array<pollfd, 2> ready{pollfd{.fd = client, .events = POLLIN, .revents = 0},
                                pollfd{.fd = server, .events = POLLIN, .revents = 0}};
    if (::poll(ready.data(), ready.size(), 20) <= 0) {
      return true;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      if (ready[i].revents == 0) {
        continue;
      }
      std::array<char, 65536> bytes{};
      const ssize_t n = ::read(ready[i].fd, bytes.data(), bytes.size());
      if (n <= 0) {
        return false;
      }
      const std::string_view sent(bytes.data(), static_cast<std::size_t>(n));
      const bool commits = i == 0 && sent.starts_with('Q') && sent.contains("COMMIT");
      const Cut how = commits ? cut_.exchange(Cut::kNever) : Cut::kNever;
      cuts_ += how != Cut::kNever ? 1 : 0;
      if (how == Cut::kBeforeServer) {
        return false;
      }
      const int other = i == 0 ? server : client;
      if (::send(other, bytes.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) {
        return false;
      }
      if (how == Cut::kAfterServer) {
        // The server's answer is read here, so the commit is done, and goes no further.
        [[maybe_unused]] const ssize_t answer = ::read(server, bytes.data(), bytes.size());
        return false;
      }
    }
    return true;
  }

  TestFolder folder_;
  std::string server_;
  int listener_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<Cut> cut_ = Cut::kNever;
  std::atomic<int> cuts_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> relays_;
};

std::int64_t times_written(const Database& database, std::int64_t n) {
  std::int64_t count = -1;
  EXPECT_TRUE(database.read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement select, tx.prepare("SELECT count(*) FROM log WHERE n = ?1"));
    GENESIS_TRY(const bool row, select.bind(1, n).step());
    count = row ? select.integer(0) : -1;
    return {};
  }));
  return count;
}

// Without a key, so that a row written twice would show.
constexpr std::array<std::string_view, 1> kLog = {"CREATE TABLE log(n INTEGER NOT NULL)"};

Database::Work append(std::int64_t n) {
  return [n](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement insert, tx.prepare("INSERT INTO log VALUES(?1)"));
    return insert.bind(1, n).run();
  };
}

DatabaseOptions log_options(DatabaseOptions options) {
  options.schemas = {{.component = "log", .migrations = kLog}};
  return options;
}

TEST(OnPostgresCut, ACommitWhoseAnswerWasLostIsAskedForAndDoneOnce) {
  const TestStore store(Engine::kPostgres);
  CuttingProxy proxy;
  auto options = log_options(store.options());
  options.url = proxy.url(options.url);
  auto database = must_open(options);
  std::int64_t n = 0;
  for (const auto how : {CuttingProxy::Cut::kBeforeServer, CuttingProxy::Cut::kAfterServer}) {
    for (int i = 0; i < 10; ++i) {
      ++n;
      proxy.cut_next(how);
      const auto outcome = database->write_blocking(append(n));
      EXPECT_TRUE(outcome) << outcome.error().message;
      EXPECT_EQ(times_written(*database, n), 1) << n;
    }
  }
  EXPECT_EQ(proxy.cuts(), 20);
  EXPECT_EQ(database->stats().reopened, 20U);
}

TEST(OnPostgresCut, ManyWritesThroughAConnectionThatKeepsBreaking) {
  const TestStore store(Engine::kPostgres);
  CuttingProxy proxy;
  auto options = log_options(store.options());
  options.url = proxy.url(options.url);
  auto database = must_open(options);
  const std::uint64_t seed = 77;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mutex mutex;
  std::set<std::int64_t> acknowledged;
  std::set<std::int64_t> refused;
  for (std::int64_t n = 1; n <= 400; ++n) {
    if (random.below(10) == 0) {
      proxy.cut_next(random.below(2) == 0 ? CuttingProxy::Cut::kBeforeServer
                                          : CuttingProxy::Cut::kAfterServer);
    }
    database->submit(append(n), [&, n](Result<void> result) {
      const std::lock_guard lock(mutex);
      (result ? acknowledged : refused).insert(n);
    });
    if (random.below(4) == 0) {
      [[maybe_unused]] const auto waited = database->write_blocking(append(0));
    }
  }
  // The last cut may still be ahead of this one.
  while (!database->write_blocking(append(0))) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_GT(proxy.cuts(), 5);
  for (std::int64_t n = 1; n <= 400; ++n) {
    EXPECT_EQ(times_written(*database, n), acknowledged.contains(n) ? 1 : 0) << n;
    EXPECT_NE(acknowledged.contains(n), refused.contains(n)) << n;
  }
}

// Stops the server however `stop` does, and looks how works fare before, meanwhile and after.
void expect_outage(const std::function<void()>& stop, const std::function<void()>& start) {
  const TestStore store(Engine::kPostgres);
  auto options = log_options(store.options());
  options.reply_timeout = milliseconds(1'000);
  auto database = must_open(options);
  database->write_blocking(append(1)).value();
  stop();
  std::promise<Result<void>> completion;
  database->submit(
      append(2),
      [&](Result<void> result) { completion.set_value(std::move(result)); },
      Urgency::kCompletion);
  const auto begun = std::chrono::steady_clock::now();
  const auto refused = database->write_blocking(append(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable) << refused.error().message;
  const auto again = std::chrono::steady_clock::now();
  for (std::int64_t n = 0; n < 20; ++n) {
    const auto next = database->write_blocking(append(100 + n));
    ASSERT_FALSE(next);
    EXPECT_EQ(next.error().code, ErrorCode::kUnavailable);
  }
  std::printf("refused after %lld ms, then 20 more within %lld ms\n",
              static_cast<long long>((again - begun) / milliseconds(1)),
              static_cast<long long>((std::chrono::steady_clock::now() - again) / milliseconds(1)));
  EXPECT_GT(database->stats().failed_commits, 0U) << "readiness looks at it";
  start();
  const auto finished = completion.get_future().get();
  EXPECT_TRUE(finished) << finished.error().message;
  EXPECT_TRUE(database->write_blocking(append(4)));
  EXPECT_EQ(times_written(*database, 1), 1);
  EXPECT_EQ(times_written(*database, 2), 1);
  EXPECT_EQ(times_written(*database, 3), 0);
  EXPECT_EQ(times_written(*database, 4), 1);
}

TEST(OnPostgresOutage, AServerThatStopsRefusesNewWorkAndLosesNone) {
  TestPostgres& server = TestPostgres::shared();
  expect_outage([&] { server.stop(SIGINT); }, [&] { server.start(); });
}

TEST(OnPostgresOutage, AServerThatCrashesRefusesNewWorkAndLosesNone) {
  TestPostgres& server = TestPostgres::shared();
  expect_outage([&] { server.stop(SIGQUIT); }, [&] { server.start(); });
}

// Writes from several threads until told to stop; what was acknowledged must be there once.
TEST(OnPostgresOutage, AcknowledgedWritesSurviveCrashesOfTheServer) {
  const char* rounds_wanted = std::getenv("GENESIS_PG_STOPS");  // NOLINT(concurrency-mt-unsafe)
  const int rounds = rounds_wanted != nullptr ? std::atoi(rounds_wanted) : 10;
  TestPostgres& server = TestPostgres::shared();
  const TestStore store(Engine::kPostgres);
  auto database = must_open(log_options(store.options()));
  const std::uint64_t seed = 20251104;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mutex mutex;
  std::set<std::int64_t> acknowledged;
  std::set<std::int64_t> refused;
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (std::int64_t n = 1; !stop; ++n) {
      database->submit(append(n), [&, n](Result<void> result) {
        const std::lock_guard lock(mutex);
        (result ? acknowledged : refused).insert(n);
      });
      if (n % 20 == 0) {
        [[maybe_unused]] const auto waited = database->write_blocking(append(0));
        std::this_thread::sleep_for(milliseconds(1));
      }
    }
  });
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(milliseconds(50 + random.below(150)));
    server.stop(SIGQUIT);
    server.start();
  }
  std::this_thread::sleep_for(milliseconds(200));
  stop = true;
  load.join();
  while (!database->write_blocking(append(0))) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  std::map<std::int64_t, int> rows;
  EXPECT_TRUE(database->read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement select, tx.prepare("SELECT n FROM log WHERE n > 0"));
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      ++rows[select.integer(0)];
    }
  }));
  std::printf(
      "%d stops: %zu acknowledged, %zu refused\n", rounds, acknowledged.size(), refused.size());
  EXPECT_GT(acknowledged.size(), 0U) << "how many depends on the machine";
  for (const std::int64_t n : acknowledged) {
    EXPECT_EQ(rows[n], 1) << n;
  }
  for (const std::int64_t n : refused) {
    EXPECT_EQ(rows[n], 0) << n;
  }
}

// A counter read and written by two gateways: without one order among them steps would be lost.
TEST(OnPostgresGateways, WriteInOneOrder) {
  const TestStore store(Engine::kPostgres);
  auto one = must_open(log_options(store.options("one")));
  auto two = must_open(log_options(store.options("two")));
  one->write_blocking(append(0)).value();
  const Database::Work step = [](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement newest, tx.prepare("SELECT n FROM log ORDER BY n DESC LIMIT 1"));
    GENESIS_TRY(const bool row, newest.step());
    return row ? append(newest.integer(0) + 1)(tx) : fail(ErrorCode::kNotFound, "no row");
  };
  std::atomic<int> good = 0;
  const auto count = [&](Result<void> result) { good += result ? 1 : 0; };
  for (int i = 0; i < 300; ++i) {
    one->submit(step, count);
    two->submit(step, count);
    if (i % 7 == 0) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  one.reset();
  two.reset();
  EXPECT_EQ(good, 600);
  auto reader = must_open(log_options(store.options("one")));
  for (const std::int64_t n : {1, 2, 299, 300, 599, 600}) {
    EXPECT_EQ(times_written(*reader, n), 1) << n;
  }
  EXPECT_EQ(times_written(*reader, 601), 0);
}

TEST(OnPostgresGateways, ANameBelongsToOneAtATime) {
  const TestStore store(Engine::kPostgres);
  auto one = must_open(log_options(store.options("one")));
  const auto again = Database::open(log_options(store.options("one")));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  one.reset();
  EXPECT_TRUE(Database::open(log_options(store.options("one"))));
}

std::vector<std::string> absent(const Database& database) {
  std::vector<std::string> names;
  EXPECT_TRUE(database.read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(names, database.absent_writers(tx));
    return {};
  }));
  return names;
}

TEST(OnPostgresGateways, OnesThatAreGoneAreTold) {
  const TestStore store(Engine::kPostgres);
  const auto options = [&](const std::string& name) {
    auto wanted = log_options(store.options(name));
    wanted.lease = milliseconds(1'200);
    return wanted;
  };
  auto stays = must_open(options("stays"));
  auto idle = must_open(options("idle"));
  must_open(options("goes"))->write_blocking(append(1)).value();
  EXPECT_EQ(absent(*stays), std::vector<std::string>{}) << "not before its lease is over";
  std::this_thread::sleep_for(milliseconds(1'500));
  EXPECT_EQ(absent(*stays), std::vector<std::string>{"goes"}) << "an idle one is still there";
  ASSERT_TRUE(
      stays->write_blocking([&](Transaction& tx) { return stays->forget_writer(tx, "goes"); }));
  EXPECT_EQ(absent(*stays), std::vector<std::string>{});
}

TEST(OnPostgresModes, CommandsWriteAndReadBesideGateways) {
  const TestStore store(Engine::kPostgres);
  auto options = log_options(store.options());
  options.mode = OpenMode::kReadOnly;
  EXPECT_EQ(Database::open(options).error().code, ErrorCode::kNotFound);
  options.mode = OpenMode::kOwnerOrGuest;
  {
    auto first = must_open(options);
    EXPECT_FALSE(first->is_owner());
    EXPECT_TRUE(first->write_blocking(append(1)));
  }
  auto owner = must_open(log_options(store.options()));
  options.mode = OpenMode::kGuest;
  must_open(options)->write_blocking(append(2)).value();
  options.mode = OpenMode::kReadOnly;
  auto reader = must_open(options);
  EXPECT_EQ(times_written(*reader, 2), 1);
  EXPECT_EQ(reader->write_blocking(append(3)).error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(absent(*owner), std::vector<std::string>{}) << "guests leave no row behind";
}

TEST(OnPostgresModes, ErrorsTellWhatToDoAndNoPassword) {
  const std::string password = "sEcr3t-pass";
  const TestStore store(Engine::kPostgres);
  auto options = log_options(store.options());
  options.password = password;
  const std::string folder = TestPostgres::shared().folder();
  for (const std::string& url : {
           "postgresql:///no_such_database?user=postgres&host=" + folder,
           "postgresql://nobody:" + password + "@/postgres?host=" + folder,
           "postgresql://user:" + password + "@127.0.0.1:1/none",
           "postgresql://user:" + password + "@host:port:9/none",
           "postgresql:///x?password=" + password + "&sslmode=" + password,
           std::string("mysql://user:") + password + "@host/none",
       }) {
    options.url = url;
    const auto opened = Database::open(options);
    ASSERT_FALSE(opened) << url;
    const Error& error = opened.error();
    EXPECT_TRUE(error.code == ErrorCode::kConfig || error.code == ErrorCode::kUnavailable)
        << error.message;
    EXPECT_FALSE(error.message.contains(password)) << error.message;
    EXPECT_FALSE(error.hint.contains(password)) << error.hint;
    EXPECT_FALSE(error.hint.empty());
  }
  EXPECT_EQ(shown_postgres_url("postgres://u:" + password + "@h:5/d?sslmode=require").value(),
            "postgresql://u@h:5/d?sslmode=require");
  EXPECT_TRUE(has_password("postgres://u:p@h/d").value());
  EXPECT_FALSE(has_password("postgres://u@h/d").value());
}

}  // namespace

}  // namespace genesis::store
