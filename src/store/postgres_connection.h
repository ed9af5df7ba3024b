// PostgresConnection: one connection through libpq, used without blocking calls so that no answer
// is waited for longer than its time. Private to the room; one thread at a time.
#pragma once

#include "base/result.h"
#include "store/connection.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// libpq's types; only postgres_connection.cpp and postgres_statement.cpp see its header.
struct pg_conn;
struct pg_result;

namespace genesis::store {

struct PostgresOptions {
  std::string url;
  std::string password;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds reply_timeout{10'000};
  // Rows of a SELECT come in portions and other statements may run between them: for the snapshots
  // of readers, whose results may not fit into memory.
  bool portions = false;
};

struct PostgresResultDeleter {
  void operator()(pg_result* result) const;
};

using PostgresResult = std::unique_ptr<pg_result, PostgresResultDeleter>;

// A parameter in PostgreSQL's binary form.
struct PostgresParameter {
  unsigned type = 0;  // of pg_type; 0: NULL, the server infers
  std::string bytes;
};

class PostgresConnection final : public Connection {
 public:
  static Result<std::unique_ptr<PostgresConnection>> open(const PostgresOptions& options);

  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;
  ~PostgresConnection() override;

  Result<void> execute(std::string_view sql) override;

  // Nothing can be asked any more: the server went, or did not answer in time.
  bool lost() const;
  // An error has made the transaction useless up to the last savepoint.
  bool in_failed_transaction() const;

  enum class Commit : std::uint8_t {
    kDone,
    kRefused,  // the server said no: nothing of it is there
    kUnknown,  // the connection was lost before the answer
  };

  struct CommitOutcome {
    Commit state = Commit::kUnknown;
    Error error;
  };

  CommitOutcome commit();

  // For PostgresStatement. `name` is a prepared statement's; rows come in binary form.
  Result<void> prepare_named(const std::string& name,
                             const std::string& sql,
                             const std::vector<PostgresParameter>& parameters);
  Result<PostgresResult> execute_named(const std::string& name,
                                       const std::vector<PostgresParameter>& parameters);
  Result<PostgresResult> execute_once(const std::string& sql,
                                      const std::vector<PostgresParameter>& parameters);

  bool portions() const { return options_.portions; }

  std::string fresh_name();

 private:
  PostgresConnection(pg_conn* handle, PostgresOptions options);
  Result<std::unique_ptr<PreparedState>> make(std::string_view sql) override;
  Result<void> connect();
  Result<void> configure();
  Result<PostgresResult> answer(bool sent);
  // Lost if nothing happens until then.
  Result<void> wait(short events, std::chrono::steady_clock::time_point until);
  Error connection_error(std::string_view doing);
  Error result_error(const pg_result* result);
  std::string without_password(std::string text) const;

  pg_conn* handle_;
  const PostgresOptions options_;
  bool lost_ = false;
  std::uint64_t names_ = 0;
};

}  // namespace genesis::store
