// Parameters and columns in PostgreSQL's binary forms, and reading in portions.
#include "store/postgres_statement.h"

#include "store/dialect.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <libpq-fe.h>
#include <utility>

namespace genesis::store {

namespace {

// Object ids of pg_type, fixed since PostgreSQL began (catalog/pg_type.dat).
constexpr Oid kBool = 16;
constexpr Oid kBytea = 17;
constexpr Oid kName = 19;
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;
constexpr Oid kFloat8 = 701;
constexpr Oid kUnknown = 705;
constexpr Oid kVarchar = 1043;
constexpr Oid kNumeric = 1700;

// Rows of a snapshot fetched at a time: a row of the ledger has about 500 bytes.
constexpr int kPortion = 1000;

template <typename T>
T from_network(std::string_view bytes) {
  std::array<std::uint8_t, sizeof(T)> raw{};
  std::memcpy(raw.data(), bytes.data(), std::min(raw.size(), bytes.size()));
  std::uint64_t value = 0;
  for (const std::uint8_t byte : raw) {
    value = value << 8U | byte;
  }
  return static_cast<T>(value);
}

std::string to_network(std::int64_t value) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[7 - i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
  return bytes;
}

// sum() of 64-bit integers is a numeric: digits of base 10,000, the first worth 10,000^weight.
// nullopt: a fraction, or more than 64 bits. Format: numeric_send() in the server's numeric.c.
std::optional<std::int64_t> integer_of_numeric(std::string_view bytes) {
  constexpr std::size_t kHead = 8;
  if (bytes.size() < kHead) {
    return std::nullopt;
  }
  const auto at = [&](std::size_t i) { return from_network<std::int16_t>(bytes.substr(2 * i, 2)); };
  const int digits = at(0);
  const int weight = at(1);
  const auto sign = static_cast<std::uint16_t>(at(2));
  const bool negative = sign == 0x4000;
  if ((sign != 0 && !negative) || digits < 0 ||
      bytes.size() != kHead + 2 * static_cast<std::size_t>(digits)) {
    return std::nullopt;
  }
  std::int64_t value = 0;
  for (int i = 0; i < std::max(digits, weight + 1); ++i) {
    const int digit = i < digits ? at(4 + static_cast<std::size_t>(i)) : 0;
    if (i > weight) {
      if (digit != 0) {
        return std::nullopt;
      }
      continue;
    }
    // Downward, because the smallest number has no positive twin.
    if (__builtin_mul_overflow(value, 10'000, &value) ||
        __builtin_sub_overflow(value, digit, &value)) {
      return std::nullopt;
    }
  }
  if (!negative && __builtin_sub_overflow(std::int64_t{0}, value, &value)) {
    return std::nullopt;
  }
  return value;
}

bool selects(std::string_view text) {
  return text.starts_with("SELECT") || text.starts_with("WITH");
}

}  // namespace

PostgresStatement::PostgresStatement(PostgresConnection& home, std::string_view text)
    : home_(home), text_(postgres_query(text)), is_select_(selects(text)) {}

PostgresParameter& PostgresStatement::parameter(int index) {
  const auto i = static_cast<std::size_t>(index - 1);
  if (parameters_.size() <= i) {
    parameters_.resize(i + 1);
  }
  return parameters_[i];
}

void PostgresStatement::bind_integer(int index, std::int64_t value) {
  parameter(index) = {.type = kInt8, .bytes = to_network(value)};
}

void PostgresStatement::bind_text(int index, std::string_view value) {
  if (value.contains('\0') && !bind_error_) {
    bind_error_ = Error{.code = ErrorCode::kInvalidArgument,
                        .message = "a text with a zero byte cannot be stored in PostgreSQL"};
  }
  parameter(index) = {.type = kText, .bytes = std::string(value)};
}

void PostgresStatement::bind_blob(int index, std::span<const std::uint8_t> value) {
  parameter(index) = {
      .type = kBytea,
      .bytes = std::string(reinterpret_cast<const char*>(value.data()), value.size())};
}

void PostgresStatement::bind_null(int index) {
  parameter(index) = {};
}

Result<void> PostgresStatement::open_cursor() {
  cursor_ = home_.fresh_name();
  GENESIS_TRY_VOID(home_.execute_once(
      fmt::format("DECLARE {} NO SCROLL CURSOR FOR {}", cursor_, text_), parameters_));
  started_ = true;
  return {};
}

Result<bool> PostgresStatement::next_portion() {
  next_ = 0;
  GENESIS_TRY(rows_, home_.execute_once(fmt::format("FETCH {} FROM {}", kPortion, cursor_), {}));
  return PQntuples(rows_.get()) > 0;
}

Result<void> PostgresStatement::start() {
  if (bind_error_) {
    return std::unexpected(*bind_error_);
  }
  if (is_select_ && home_.portions()) {
    return open_cursor();
  }
  std::string types;
  for (const PostgresParameter& p : parameters_) {
    types += static_cast<char>(p.type);
  }
  auto known = names_.find(types);
  if (known == names_.end()) {
    const std::string name = home_.fresh_name();
    GENESIS_TRY_VOID(home_.prepare_named(name, text_, parameters_));
    known = names_.emplace(types, name).first;
  }
  GENESIS_TRY(rows_, home_.execute_named(known->second, parameters_));
  next_ = 0;
  started_ = true;
  return {};
}

Result<bool> PostgresStatement::step() {
  if (!started_) {
    GENESIS_TRY_VOID(start());
  }
  if (!rows_ || next_ >= PQntuples(rows_.get())) {
    if (cursor_.empty()) {
      return false;
    }
    GENESIS_TRY(const bool more, next_portion());
    if (!more) {
      return false;
    }
  }
  GENESIS_TRY_VOID(read_row());
  ++next_;
  return true;
}

Result<void> PostgresStatement::read_row() {
  const pg_result* rows = rows_.get();
  cells_.resize(static_cast<std::size_t>(PQnfields(rows)));
  for (int column = 0; column < PQnfields(rows); ++column) {
    Cell& cell = cells_[static_cast<std::size_t>(column)];
    cell = {};
    if (PQgetisnull(rows, next_, column) != 0) {
      continue;
    }
    const Oid type = PQftype(rows, column);
    cell.bytes = {PQgetvalue(rows, next_, column),
                  static_cast<std::size_t>(PQgetlength(rows, next_, column))};
    cell.type = ColumnType::kInteger;
    if (type == kInt8) {
      cell.integer = from_network<std::int64_t>(cell.bytes);
    } else if (type == kInt4) {
      cell.integer = from_network<std::int32_t>(cell.bytes);
    } else if (type == kInt2) {
      cell.integer = from_network<std::int16_t>(cell.bytes);
    } else if (type == kBool) {
      cell.integer = cell.bytes == std::string_view("\1") ? 1 : 0;
    } else if (type == kNumeric) {
      const auto whole = integer_of_numeric(cell.bytes);
      if (!whole) {
        return fail(ErrorCode::kInternal, "a number of the database does not fit into 64 bits");
      }
      cell.integer = *whole;
    } else if (type == kText || type == kVarchar || type == kName || type == kUnknown) {
      cell.type = ColumnType::kText;
    } else if (type == kBytea) {
      cell.type = ColumnType::kBlob;
    } else if (type == kFloat8) {
      cell.type = ColumnType::kReal;
      cell.integer =
          static_cast<std::int64_t>(std::bit_cast<double>(from_network<std::uint64_t>(cell.bytes)));
    } else {
      return fail(ErrorCode::kInternal,
                  fmt::format("column {} has a type (oid {}) that is not read", column, type));
    }
  }
  return {};
}

void PostgresStatement::reset() {
  if (!cursor_.empty() && !home_.lost() && !home_.in_failed_transaction()) {
    // An open cursor costs the server memory until the snapshot ends; failing to close it is no
    // error of the reader.
    [[maybe_unused]] const auto closed = home_.execute("CLOSE " + cursor_);
  }
  cursor_.clear();
  rows_.reset();
  cells_.clear();
  next_ = 0;
  started_ = false;
}

void PostgresStatement::clear() {
  reset();
  parameters_.clear();
  bind_error_.reset();
}

ColumnType PostgresStatement::type(int column) const {
  const auto i = static_cast<std::size_t>(column);
  return i < cells_.size() ? cells_[i].type : ColumnType::kNull;
}

std::int64_t PostgresStatement::integer(int column) const {
  const auto i = static_cast<std::size_t>(column);
  return i < cells_.size() ? cells_[i].integer : 0;
}

std::string_view PostgresStatement::text(int column) const {
  const ColumnType is = type(column);
  const bool readable = is == ColumnType::kText || is == ColumnType::kBlob;
  return readable ? cells_[static_cast<std::size_t>(column)].bytes : std::string_view{};
}

std::span<const std::uint8_t> PostgresStatement::blob(int column) const {
  const std::string_view bytes = text(column);
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace genesis::store
