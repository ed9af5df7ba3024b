// Hashing, binding and reading of rows.
#include "ledger/entry.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace genesis::ledger {

namespace {

// Columns as hashed: one letter for the type, eight bytes of value or length, then the text. They
// are gathered first: one call of the hash function instead of seventy.
class ColumnBytes {
 public:
  explicit ColumnBytes(std::string& out) : out_(out) {}

  void operator()(std::int64_t value) { head('i', value); }

  void operator()(const std::string& text) {
    head('t', static_cast<std::int64_t>(text.size()));
    out_ += text;
  }

  void operator()(const std::optional<std::int64_t>& value) {
    head(value ? 'i' : 'n', value.value_or(0));
  }

 private:
  void head(char type, std::int64_t number) {
    std::array<char, 9> bytes{};
    bytes[0] = type;
    for (std::size_t i = 0; i < 8; ++i) {
      bytes[i + 1] = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i));
    }
    out_.append(bytes.data(), bytes.size());
  }

  std::string& out_;
};

// Takes columns from left to right and remembers the first of a foreign type.
class ColumnReader {
 public:
  explicit ColumnReader(const store::Statement& row) : row_(row) {}

  void operator()(std::int64_t& value) {
    expect(store::ColumnType::kInteger);
    value = row_.integer(next_++);
  }

  void operator()(std::string& text) {
    expect(store::ColumnType::kText);
    text = row_.text(next_++);
  }

  void operator()(std::optional<std::int64_t>& value) {
    if (row_.type(next_) == store::ColumnType::kNull) {
      value.reset();
      ++next_;
      return;
    }
    (*this)(value.emplace());
  }

  void digest(Digest& out) {
    expect(store::ColumnType::kBlob);
    const auto bytes = row_.blob(next_++);
    good_ = good_ && bytes.size() == out.size();
    if (good_) {
      std::memcpy(out.data(), bytes.data(), out.size());
    }
  }

  bool good() const { return good_; }

 private:
  void expect(store::ColumnType type) { good_ = good_ && row_.type(next_) == type; }

  const store::Statement& row_;
  int next_ = 0;
  bool good_ = true;
};

}  // namespace

Digest genesis_hash() {
  return sha256("genesis ledger 1");
}

Usage Entry::baseline_usage() const {
  Usage same = usage();
  if (format > 1 && price_id != baseline_price_id) {
    same.output -= same.reasoning;
    same.reasoning = 0;
  }
  return same;
}

void Entry::set_usage(const Usage& usage) {
  input = usage.input;
  cached_input = usage.cached_input;
  cache_write = usage.cache_write;
  output = usage.output;
  reasoning = usage.reasoning;
}

Digest Entry::compute_hash() const {
  std::string bytes(reinterpret_cast<const char*>(prev_hash.data()), prev_hash.size());
  bytes.reserve(1024);
  each_column(*this, ColumnBytes(bytes));
  if (format > 1) {
    each_later_column(*this, ColumnBytes(bytes));
  }
  return sha256(bytes);
}

void Entry::set_accounts() {
  if (kind == kind::kReserve) {
    debit_account = "hold:" + tenant;
    credit_account = "held:" + endpoint;
  } else if (kind == kind::kVoid) {
    debit_account = "held:" + endpoint;
    credit_account = "hold:" + tenant;
  } else if (kind == kind::kMachine) {
    debit_account = "machine:" + endpoint;
    credit_account = "provider:" + endpoint;
  } else if (kind == kind::kPin) {
    debit_account = "baseline:" + route;
    credit_account = "pinned:" + route;
  } else if (kind == kind::kUnconfirmed) {
    debit_account = "unconfirmed:" + tenant;
    credit_account = "provider:" + endpoint;
  } else {
    debit_account = "tenant:" + tenant;
    credit_account = "provider:" + endpoint;
  }
}

std::string_view entry_columns() {
  return "seq, unix_ms, kind, request_id, attempt, tenant, key_id, route, endpoint, tier, model,"
         " input, cached_input, cache_write, output, reasoning, debit_account, credit_account,"
         " amount_nano, price_id, baseline_model, baseline_nano, baseline_price_id, finish,"
         " delivered, first_token_ms, total_ms, note, prev_hash, hash, format, writer, team, agent,"
         " disputed";
}

Result<Entry> read_entry(const store::Statement& row) {
  Entry entry;
  ColumnReader reader(row);
  each_column(entry, reader);
  reader.digest(entry.prev_hash);
  reader.digest(entry.hash);
  each_later_column(entry, reader);
  if (!reader.good()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("row {} of the ledger has a column of a wrong type", entry.seq));
  }
  return entry;
}

std::string usage_json(const Usage& usage) {
  return fmt::format(
      R"({{"input":{},"cached_input":{},"cache_write":{},"output":{},"reasoning":{}}})",
      usage.input,
      usage.cached_input,
      usage.cache_write,
      usage.output,
      usage.reasoning);
}

Result<std::vector<Entry>> attempt_entries(store::Transaction& tx, const AttemptId& id) {
  static const std::string sql = fmt::format(
      "SELECT {} FROM entries WHERE request_id = ?1 AND attempt = ?2 AND kind NOT IN ('machine', "
      "'pin')"
      " ORDER BY seq",
      entry_columns());
  GENESIS_TRY(store::Statement select, tx.prepare(sql));
  select.bind(1, id.request_id).bind(2, static_cast<std::int64_t>(id.attempt));
  std::vector<Entry> entries;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return entries;
    }
    GENESIS_TRY(Entry entry, read_entry(select));
    entries.push_back(std::move(entry));
  }
}

Result<void> remember_price(store::Transaction& tx, const TokenPrice& price) {
  GENESIS_TRY(store::Statement insert,
              tx.prepare("INSERT INTO prices VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
                         " ON CONFLICT(price_id) DO NOTHING"));
  return insert.bind(1, price.id)
      .bind(2, price.model)
      .bind(3, price.valid_from_ms)
      .bind(4, price.valid_to_ms)
      .bind(5, price.input)
      .bind(6, price.cached_input)
      .bind(7, price.cache_write)
      .bind(8, price.output)
      .bind(9, price.reasoning)
      .bind(10, price.source)
      .run();
}

Result<std::optional<TokenPrice>> recall_price(store::Transaction& tx, std::string_view id) {
  GENESIS_TRY(
      store::Statement select,
      tx.prepare("SELECT model, valid_from_ms, valid_to_ms, input, cached_input, cache_write,"
                 " output, reasoning, source FROM prices WHERE price_id = ?1"));
  GENESIS_TRY(const bool row, select.bind(1, id).step());
  if (!row) {
    return std::nullopt;
  }
  return TokenPrice{.model = std::string(select.text(0)),
                    .valid_from_ms = select.integer(1),
                    .valid_to_ms = select.integer(2),
                    .input = select.integer(3),
                    .cached_input = select.integer(4),
                    .cache_write = select.integer(5),
                    .output = select.integer(6),
                    .reasoning = select.integer(7),
                    .source = std::string(select.text(8)),
                    .id = std::string(id)};
}

}  // namespace genesis::ledger
