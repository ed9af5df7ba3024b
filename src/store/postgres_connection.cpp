// libpq calls, their results as Errors, and waiting with an end.
#include "store/postgres_connection.h"

#include "store/postgres_statement.h"
#include "store/postgres_url.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <libpq-fe.h>
#include <optional>
#include <poll.h>
#include <utility>

namespace genesis::store {

namespace {

using SteadyClock = std::chrono::steady_clock;

// Settings of every session. The server ends a transaction whose client went silent (a gateway that
// was stopped, a network that was cut): it would hold the lock all others wait for.
constexpr std::string_view kSession =
    "SET client_min_messages = warning;"
    "SET synchronous_commit = on;"
    "SET idle_in_transaction_session_timeout = '15s';"
    "SET standard_conforming_strings = on";

struct CodeOfState {
  std::string_view prefix;  // of the SQLSTATE
  ErrorCode code;
};

// https://www.postgresql.org/docs/15/errcodes-appendix.html; the first that fits.
constexpr std::array<CodeOfState, 17> kCodes = {{
    {"23", ErrorCode::kConflict},
    {"53100", ErrorCode::kResourceExhausted},
    {"53200", ErrorCode::kResourceExhausted},
    {"53", ErrorCode::kUnavailable},
    {"08", ErrorCode::kUnavailable},
    {"40", ErrorCode::kUnavailable},
    {"55P03", ErrorCode::kUnavailable},
    {"57", ErrorCode::kUnavailable},
    {"58", ErrorCode::kIo},
    {"25006", ErrorCode::kIo},  // a reader's snapshot, or a server that only follows another
    {"25P03", ErrorCode::kUnavailable},
    {"22", ErrorCode::kInvalidArgument},
    {"28", ErrorCode::kConfig},
    {"3D", ErrorCode::kConfig},
    {"42501", ErrorCode::kConfig},
    {"XX001", ErrorCode::kDataLoss},
    {"XX002", ErrorCode::kDataLoss},
}};

ErrorCode code_of(std::string_view state) {
  for (const CodeOfState& known : kCodes) {
    if (state.starts_with(known.prefix)) {
      return known.code;
    }
  }
  return ErrorCode::kInternal;
}

std::string_view next_step(ErrorCode code) {
  switch (code) {
    case ErrorCode::kConfig:
      return "check user, password and database name of ledger.database_url";
    case ErrorCode::kUnavailable:
      return "is the PostgreSQL server of ledger.database_url running?";
    case ErrorCode::kResourceExhausted:
      return "free disk space or memory on the database server";
    case ErrorCode::kDataLoss:
      return "restore the database from a backup";
    default:
      return "";
  }
}

// libpq writes sentences over several lines.
std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  for (char& c : text) {
    c = c == '\n' || c == '\t' ? ' ' : c;
  }
  return text;
}

struct ParameterView {
  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;

  explicit ParameterView(const std::vector<PostgresParameter>& parameters) {
    for (const PostgresParameter& p : parameters) {
      types.push_back(p.type);
      values.push_back(p.type == 0 ? nullptr : p.bytes.data());
      lengths.push_back(static_cast<int>(p.bytes.size()));
      formats.push_back(1);
    }
  }

  int count() const { return static_cast<int>(types.size()); }
};

struct ConnInfoDeleter {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

using ConnInfo = std::unique_ptr<PQconninfoOption, ConnInfoDeleter>;

Result<ConnInfo> parse_url(const std::string& url) {
  char* message = nullptr;
  ConnInfo parsed(PQconninfoParse(url.c_str(), &message));
  PQfreemem(message);
  const bool scheme = url.starts_with("postgresql://") || url.starts_with("postgres://");
  if (!parsed || !scheme) {
    // libpq's words would repeat the URL, and with it a password.
    auto error = fail_param("ledger.database_url",
                            "the database URL cannot be read: a part of it is misspelt",
                            ErrorCode::kConfig);
    error.error().hint = "postgresql://user@host:5432/database?sslmode=verify-full";
    return error;
  }
  return parsed;
}

bool is_secret(const PQconninfoOption& option) {
  return std::strchr(option.dispchar, '*') != nullptr;
}

}  // namespace

void PostgresResultDeleter::operator()(pg_result* result) const {
  PQclear(result);
}

Result<std::string> shown_postgres_url(const std::string& url) {
  GENESIS_TRY(const ConnInfo parsed, parse_url(url));
  std::string shown = "postgresql://";
  std::string rest;
  const auto value = [&](std::string_view keyword) -> std::string {
    for (const PQconninfoOption* o = parsed.get(); o->keyword != nullptr; ++o) {
      if (keyword == o->keyword && o->val != nullptr) {
        return o->val;
      }
    }
    return {};
  };
  const std::string user = value("user");
  const std::string host = value("host");
  const std::string port = value("port");
  shown += user.empty() ? "" : user + "@";
  shown += host + (port.empty() ? "" : ":" + port) + "/" + value("dbname");
  for (const PQconninfoOption* o = parsed.get(); o->keyword != nullptr; ++o) {
    const std::string_view name = o->keyword;
    const bool placed = name == "user" || name == "host" || name == "port" || name == "dbname";
    if (o->val != nullptr && !placed && !is_secret(*o)) {
      rest += fmt::format("{}{}={}", rest.empty() ? "?" : "&", name, o->val);
    }
  }
  return shown + rest;
}

Result<bool> has_password(const std::string& url) {
  GENESIS_TRY(const ConnInfo parsed, parse_url(url));
  for (const PQconninfoOption* o = parsed.get(); o->keyword != nullptr; ++o) {
    if (std::string_view(o->keyword) == "password" && o->val != nullptr) {
      return true;
    }
  }
  return false;
}

PostgresConnection::PostgresConnection(pg_conn* handle, PostgresOptions options)
    : handle_(handle), options_(std::move(options)) {}

PostgresConnection::~PostgresConnection() {
  drop_statements();
  PQfinish(handle_);
}

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(
    const PostgresOptions& options) {
  GENESIS_TRY_VOID(parse_url(options.url));
  // Later entries win; the first is the URL as a whole.
  std::vector<const char*> names = {"dbname", "client_encoding", "fallback_application_name"};
  std::vector<const char*> values = {options.url.c_str(), "UTF8", "genesis"};
  if (!options.password.empty()) {
    names.push_back("password");
    values.push_back(options.password.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  pg_conn* handle = PQconnectStartParams(names.data(), values.data(), 1);
  if (handle == nullptr) {
    return fail(ErrorCode::kResourceExhausted, "out of memory while connecting to PostgreSQL");
  }
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(handle, options));
  GENESIS_TRY_VOID(connection->connect());
  GENESIS_TRY_VOID(connection->configure());
  return connection;
}

Result<void> PostgresConnection::connect() {
  const auto until = SteadyClock::now() + options_.connect_timeout;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (PQstatus(handle_) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
    GENESIS_TRY_VOID(wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until));
    state = PQconnectPoll(handle_);
    if (state == PGRES_POLLING_FAILED) {
      break;
    }
  }
  if (PQstatus(handle_) != CONNECTION_OK) {
    lost_ = true;
    return std::unexpected(connection_error("connect to"));
  }
  PQsetnonblocking(handle_, 1);
  return {};
}

Result<void> PostgresConnection::configure() {
  GENESIS_TRY_VOID(execute(kSession));
  const char* encoding = PQparameterStatus(handle_, "server_encoding");
  if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
    return fail_param("ledger.database_url",
                      fmt::format("the database's encoding is {}, it must be UTF8",
                                  encoding == nullptr ? "unknown" : encoding),
                      ErrorCode::kConfig);
  }
  return {};
}

bool PostgresConnection::lost() const {
  return lost_ || PQstatus(handle_) != CONNECTION_OK;
}

bool PostgresConnection::in_failed_transaction() const {
  return PQtransactionStatus(handle_) == PQTRANS_INERROR;
}

std::string PostgresConnection::fresh_name() {
  return fmt::format("g{}", ++names_);
}

// libpq does not repeat passwords, but what it quotes comes from a configuration that may hold one.
std::string PostgresConnection::without_password(std::string text) const {
  const char* used = PQpass(handle_);
  const std::string_view password = used != nullptr ? used : "";
  for (std::size_t at = 0; !password.empty() && (at = text.find(password)) != std::string::npos;) {
    text.replace(at, password.size(), "***");
  }
  return text;
}

Error PostgresConnection::connection_error(std::string_view doing) {
  Error error;
  const std::string said = without_password(one_line(PQerrorMessage(handle_)));
  const bool refused = said.contains("authentication failed") || said.contains("no password") ||
                       said.contains("does not exist") || said.contains("no pg_hba.conf entry");
  error.code = refused ? ErrorCode::kConfig : ErrorCode::kUnavailable;
  error.message =
      fmt::format("cannot {} the database: {}", doing, said.empty() ? "no connection" : said);
  error.hint = next_step(error.code);
  return error;
}

Error PostgresConnection::result_error(const pg_result* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state == nullptr || PQstatus(handle_) != CONNECTION_OK) {
    lost_ = true;
    Error error = connection_error("use");
    error.code = ErrorCode::kUnavailable;
    return error;
  }
  // 57P01..03: the server goes down; 25P03: we were silent for too long.
  const std::string_view code = state;
  lost_ = lost_ || code.starts_with("57P0") || code == "25P03";
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  Error error;
  error.code = code_of(code);
  error.message = fmt::format("the database refused a statement: {} ({})",
                              one_line(primary == nullptr ? "no message" : primary),
                              code);
  error.hint = next_step(error.code);
  return error;
}

Result<void> PostgresConnection::wait(short events, SteadyClock::time_point until) {
  pollfd poll_fd{.fd = PQsocket(handle_), .events = events, .revents = 0};
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - SteadyClock::now());
    const int ready = left.count() <= 0 ? 0 : ::poll(&poll_fd, 1, static_cast<int>(left.count()));
    if (ready > 0) {
      return {};
    }
    if (ready == 0 || errno != EINTR) {
      lost_ = true;
      return fail(ErrorCode::kUnavailable,
                  "the database did not answer in time",
                  std::string(next_step(ErrorCode::kUnavailable)));
    }
  }
}

// Sends what is left, then takes the results of one command: the last one, or the first error.
Result<PostgresResult> PostgresConnection::answer(bool sent) {
  if (!sent) {
    lost_ = lost_ || PQstatus(handle_) != CONNECTION_OK;
    return std::unexpected(connection_error("send to"));
  }
  const auto until = SteadyClock::now() + options_.reply_timeout;
  for (int left = PQflush(handle_); left != 0; left = PQflush(handle_)) {
    if (left < 0) {
      lost_ = true;
      return std::unexpected(connection_error("send to"));
    }
    GENESIS_TRY_VOID(wait(POLLIN | POLLOUT, until));
    PQconsumeInput(handle_);
  }
  PostgresResult last;
  std::optional<Error> error;
  while (true) {
    while (PQisBusy(handle_) != 0) {
      GENESIS_TRY_VOID(wait(POLLIN, until));
      if (PQconsumeInput(handle_) == 0) {
        lost_ = true;
        return std::unexpected(connection_error("use"));
      }
    }
    PostgresResult next(PQgetResult(handle_));
    if (!next) {
      break;
    }
    const ExecStatusType status = PQresultStatus(next.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !error) {
      error = result_error(next.get());
    }
    last = std::move(next);
  }
  if (error) {
    return std::unexpected(std::move(*error));
  }
  if (!last) {
    return fail(ErrorCode::kInternal, "the database answered nothing");
  }
  return last;
}

Result<void> PostgresConnection::execute(std::string_view sql) {
  const std::string text(sql);
  GENESIS_TRY_VOID(answer(PQsendQuery(handle_, text.c_str()) == 1));
  return {};
}

PostgresConnection::CommitOutcome PostgresConnection::commit() {
  const auto ended = answer(PQsendQuery(handle_, "COMMIT") == 1);
  if (ended && std::string_view(PQcmdStatus(ended->get())) == "COMMIT") {
    return {.state = Commit::kDone, .error = {}};
  }
  if (ended) {
    // The server turns the COMMIT of a failed transaction into a ROLLBACK, and calls that success.
    return {.state = Commit::kRefused,
            .error = {.code = ErrorCode::kInternal, .message = "the transaction had failed"}};
  }
  return {.state = lost() ? Commit::kUnknown : Commit::kRefused, .error = ended.error()};
}

Result<void> PostgresConnection::prepare_named(const std::string& name,
                                               const std::string& sql,
                                               const std::vector<PostgresParameter>& parameters) {
  const ParameterView view(parameters);
  GENESIS_TRY_VOID(answer(
      PQsendPrepare(handle_, name.c_str(), sql.c_str(), view.count(), view.types.data()) == 1));
  return {};
}

Result<PostgresResult> PostgresConnection::execute_named(
    const std::string& name, const std::vector<PostgresParameter>& parameters) {
  const ParameterView view(parameters);
  return answer(PQsendQueryPrepared(handle_,
                                    name.c_str(),
                                    view.count(),
                                    view.values.data(),
                                    view.lengths.data(),
                                    view.formats.data(),
                                    1) == 1);
}

Result<PostgresResult> PostgresConnection::execute_once(
    const std::string& sql, const std::vector<PostgresParameter>& parameters) {
  const ParameterView view(parameters);
  return answer(PQsendQueryParams(handle_,
                                  sql.c_str(),
                                  view.count(),
                                  view.types.data(),
                                  view.values.data(),
                                  view.lengths.data(),
                                  view.formats.data(),
                                  1) == 1);
}

Result<std::unique_ptr<PreparedState>> PostgresConnection::make(std::string_view sql) {
  return std::make_unique<PostgresStatement>(*this, sql);
}

}  // namespace genesis::store
