// A real PostgreSQL server for tests: made in a temporary folder, reached through a socket there,
// durable as in production, gone with the test program. Needs Debian's postgresql-15
// (scripts/setup --tests).
#pragma once

#include "store/postgres_connection.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <pwd.h>
#include <stdexcept>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace genesis::store {

class TestPostgres {
 public:
  // The program's one server, started at first use.
  static TestPostgres& shared() {
    static TestPostgres server;
    return server;
  }

  TestPostgres() {
    if (!std::filesystem::exists(program("postgres"))) {
      throw std::runtime_error("these tests start a PostgreSQL 15 server and there is none at " +
                               program("postgres") + ": run scripts/setup --tests");
    }
    std::string pattern = (parent_folder() / "genesis-pg-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    if (::geteuid() == 0) {
      const passwd* user = ::getpwnam("postgres");
      if (user == nullptr || ::chown(folder_.c_str(), user->pw_uid, user->pw_gid) != 0) {
        throw std::runtime_error("there is no user postgres to run the server as");
      }
    }
    const int made = wait_for(spawn({program("initdb"),
                                     "--pgdata=" + folder_ + "/data",
                                     "--auth=trust",
                                     "--encoding=UTF8",
                                     "--locale=C",
                                     "--username=postgres",
                                     "--no-sync"}));
    if (made != 0) {
      throw std::runtime_error("initdb failed: " + log_text());
    }
    start();
  }

  TestPostgres(const TestPostgres&) = delete;
  TestPostgres& operator=(const TestPostgres&) = delete;

  ~TestPostgres() {
    if (owner_ != ::getpid()) {
      return;  // a forked child of the test
    }
    if (server_ > 0) {
      stop(SIGQUIT);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void start() {
    server_ = spawn({program("postgres"),
                     "-D",
                     folder_ + "/data",
                     "-k",
                     folder_,
                     "-c",
                     "listen_addresses=",
                     "-c",
                     "fsync=on",
                     "-c",
                     "max_connections=60",
                     "-c",
                     "shared_buffers=32MB"});
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!PostgresConnection::open({.url = url("postgres")})) {
      if (std::chrono::steady_clock::now() > until) {
        throw std::runtime_error("the PostgreSQL server did not start: " + log_text());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  // SIGINT: an orderly end that cuts all connections; SIGQUIT: as a crash. With SIGSTOP and SIGCONT
  // use signal().
  void stop(int how) {
    ::kill(server_, how);
    wait_for(server_);
    server_ = 0;
  }

  void signal(int number) const { ::kill(server_, number); }

  const std::string& folder() const { return folder_; }

  std::string url(const std::string& database) const {
    return "postgresql:///" + database + "?host=" + folder_ + "&user=postgres";
  }

  // The URL of a new, empty database.
  std::string fresh_database() {
    const std::string name = "t" + std::to_string(++databases_);
    auto admin = PostgresConnection::open({.url = url("postgres")});
    if (!admin) {
      throw std::runtime_error(admin.error().message);
    }
    const auto made = (*admin)->execute("CREATE DATABASE " + name);
    if (!made) {
      throw std::runtime_error(made.error().message);
    }
    return url(name);
  }

 private:
  // In memory where there is room: our tests stop processes, not the machine, and a server that
  // starts after a crash syncs each of its thousand files, which takes seconds on a busy disk.
  static std::filesystem::path parent_folder() {
    constexpr std::uintmax_t kRoom = std::uintmax_t{1} << 30;
    std::error_code error;
    const auto space = std::filesystem::space("/dev/shm", error);
    return !error && space.available > kRoom ? std::filesystem::path("/dev/shm")
                                             : std::filesystem::temp_directory_path();
  }

  static std::string program(const std::string& name) {
    const char* folder = std::getenv("GENESIS_PG_BIN");  // NOLINT(concurrency-mt-unsafe)
    return (folder != nullptr ? std::string(folder) : "/usr/lib/postgresql/15/bin") + "/" + name;
  }

  // PostgreSQL refuses to run as root. The child dies with the test, however that ends.
  pid_t spawn(const std::vector<std::string>& words) const {
    std::vector<char*> arguments;
    for (const std::string& word : words) {
      arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    const passwd* user = ::geteuid() == 0 ? ::getpwnam("postgres") : nullptr;
    const std::string log = folder_ + "/log";
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (user != nullptr && (::initgroups(user->pw_name, user->pw_gid) != 0 ||
                              ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)) {
        ::_exit(126);
      }
      ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
      const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      ::dup2(out, 1);
      ::dup2(out, 2);
      [[maybe_unused]] const int there = ::chdir(folder_.c_str());
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    return pid;
  }

  static int wait_for(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }

  std::string log_text() const {
    std::ifstream file(folder_ + "/log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder_;
  pid_t owner_ = ::getpid();
  pid_t server_ = 0;
  int databases_ = 0;
};

}  // namespace genesis::store
