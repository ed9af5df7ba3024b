// Hashing, binding and reading of rows.
#include "ledger/entry.h"

#include "base/check.h"
#include "ledger/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>

namespace genesis::ledger {

namespace {

// Columns as hashed: one letter for the type, eight bytes of value or length, then the text.
class ColumnHasher {
 public:
  explicit ColumnHasher(Sha256& hash) : hash_(hash) {}

  void operator()(std::int64_t value) { head('i', value); }

  void operator()(const std::string& text) {
    head('t', static_cast<std::int64_t>(text.size()));
    hash_.update(text);
  }

  void operator()(const std::optional<std::int64_t>& value) {
    head(value ? 'i' : 'n', value.value_or(0));
  }

 private:
  void head(char type, std::int64_t number) {
    std::array<std::uint8_t, 9> bytes{};
    bytes[0] = static_cast<std::uint8_t>(type);
    for (std::size_t i = 0; i < 8; ++i) {
      bytes[i + 1] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(number) >> (8 * i));
    }
    hash_.update(std::span<const std::uint8_t>(bytes));
  }

  Sha256& hash_;
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

constexpr std::string_view kInsert =
    "INSERT INTO entries VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,"
    "?20,?21,?22,?23,?24,?25,?26,?27,?28,?29,?30)";

}  // namespace

Digest genesis_hash() {
  return sha256("genesis ledger 1");
}

void Entry::set_usage(const Usage& usage) {
  input = usage.input;
  cached_input = usage.cached_input;
  cache_write = usage.cache_write;
  output = usage.output;
  reasoning = usage.reasoning;
}

Digest Entry::compute_hash() const {
  Sha256 sha;
  sha.update(std::span<const std::uint8_t>(prev_hash));
  each_column(*this, ColumnHasher(sha));
  return sha.finish();
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
         " delivered, first_token_ms, total_ms, note, prev_hash, hash";
}

Result<Entry> read_entry(const store::Statement& row) {
  Entry entry;
  ColumnReader reader(row);
  each_column(entry, reader);
  reader.digest(entry.prev_hash);
  reader.digest(entry.hash);
  if (!reader.good()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("row {} of the ledger has a column of a wrong type", entry.seq));
  }
  return entry;
}

Result<void> append_entry(store::Transaction& tx, Entry& entry) {
  entry.set_accounts();
  // One amount, two different accounts: the sum over all accounts stays zero.
  GENESIS_CHECK(entry.debit_account != entry.credit_account);
  GENESIS_CHECK(entry.amount_nano.value_or(0) >= 0);
  {
    // Asked anew each time: another process, or a transaction undone, may have moved the end.
    GENESIS_TRY(store::Statement head,
                tx.prepare("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1"));
    GENESIS_TRY(const bool row, head.step());
    GENESIS_TRY(const auto written, read_state(tx, "rows"));
    // Rows that were taken away leave a hole for ever, which verification finds.
    entry.seq = std::max(written.value_or(0), row ? head.integer(0) : 0) + 1;
    entry.prev_hash = genesis_hash();
    if (row) {
      const auto hash = head.blob(1);
      if (hash.size() != entry.prev_hash.size()) {
        return fail(ErrorCode::kDataLoss, "the last row of the ledger is damaged");
      }
      std::memcpy(entry.prev_hash.data(), hash.data(), hash.size());
    }
  }
  entry.hash = entry.compute_hash();
  GENESIS_TRY(store::Statement insert, tx.prepare(kInsert));
  int index = 1;
  each_column(entry, [&](const auto& value) { insert.bind(index++, value); });
  GENESIS_TRY_VOID(insert.bind_blob(index, entry.prev_hash).bind_blob(index + 1, entry.hash).run());
  // The chain alone cannot tell that its newest rows are gone.
  GENESIS_TRY(store::Statement count,
              tx.prepare("UPDATE ledger_state SET value = ?1 WHERE name = 'rows'"));
  return count.bind(1, entry.seq).run();
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
