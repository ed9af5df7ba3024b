// The walk over all rows, and the report.
#include "ledger/verify.h"

#include "base/json.h"
#include "ledger/budget.h"
#include "ledger/entry.h"
#include "ledger/money.h"
#include "ledger/schema.h"

#include <fmt/format.h>

#include <optional>
#include <unordered_set>

namespace genesis::ledger {

namespace {

std::unexpected<Error> bad_row(std::int64_t seq, std::string_view what) {
  Error error;
  error.code = ErrorCode::kDataLoss;
  error.message = fmt::format("row {} of the ledger: {}", seq, what);
  error.hint = "rows before it are good; compare with a backup";
  error.param = fmt::format("row {}", seq);
  return std::unexpected(std::move(error));
}

class Verifier {
 public:
  explicit Verifier(store::Transaction& tx) : tx_(tx) {}

  Result<void> check(const Entry& entry) {
    GENESIS_TRY_VOID(check_chain(entry));
    GENESIS_TRY_VOID(check_accounts(entry));
    GENESIS_TRY_VOID(check_life(entry));
    GENESIS_TRY_VOID(check_amount(entry));
    GENESIS_TRY_VOID(check_baseline(entry));
    report_.rows += 1;
    report_.rows_by_kind[entry.kind] += 1;
    return {};
  }

  std::int64_t next_row() const { return report_.rows + 1; }

  VerifyReport finish() {
    report_.head_hash = to_hex(head_);
    report_.open_attempts = std::ssize(open_);
    return std::move(report_);
  }

 private:
  Result<void> check_chain(const Entry& entry) {
    if (entry.seq != next_row()) {
      return bad_row(next_row(), fmt::format("missing; row {} follows", entry.seq));
    }
    if (entry.prev_hash != head_) {
      return bad_row(entry.seq, "does not follow the row before it (prev_hash)");
    }
    if (entry.hash != entry.compute_hash()) {
      return bad_row(entry.seq, "its content does not match its hash");
    }
    head_ = entry.hash;
    return {};
  }

  static Result<void> check_accounts(const Entry& entry) {
    Entry expected = entry;
    expected.set_accounts();
    if (entry.debit_account != expected.debit_account ||
        entry.credit_account != expected.credit_account ||
        entry.debit_account == entry.credit_account) {
      return bad_row(entry.seq, "its accounts do not fit its kind");
    }
    return {};
  }

  Result<void> check_life(const Entry& entry) {
    if (entry.kind == kind::kMachine || entry.kind == kind::kPin) {
      return {};
    }
    const std::string attempt = fmt::format("{}/{}", entry.attempt, entry.request_id);
    if (entry.kind == kind::kReserve) {
      if (!open_.insert(attempt).second) {
        return bad_row(entry.seq, "reserves an attempt that is open already");
      }
      return {};
    }
    if (entry.kind != kind::kPost && entry.kind != kind::kVoid &&
        entry.kind != kind::kUnconfirmed && entry.kind != kind::kQuarantine) {
      return bad_row(entry.seq, "its kind is unknown");
    }
    if (open_.erase(attempt) == 0) {
      return bad_row(entry.seq, "ends an attempt that is not open");
    }
    return {};
  }

  Result<const TokenPrice*> price(const Entry& entry, const std::string& id) {
    const auto known = prices_.find(id);
    if (known != prices_.end()) {
      return &known->second;
    }
    GENESIS_TRY(const auto found, recall_price(tx_, id));
    if (!found || found->compute_id() != id) {
      return bad_row(entry.seq, fmt::format("the price '{}' it names is missing or changed", id));
    }
    return &prices_.emplace(id, *found).first->second;
  }

  Result<void> check_priced(const Entry& entry,
                            const Usage& usage,
                            const std::string& price_id,
                            std::optional<NanoUsd> amount) {
    GENESIS_TRY(const TokenPrice* found, price(entry, price_id));
    const auto expected = token_cost(*found, usage);
    if (!expected || !amount || *amount != *expected) {
      return bad_row(entry.seq,
                     fmt::format("an amount is not its usage times the price '{}'", price_id));
    }
    return {};
  }

  Result<void> check_amount(const Entry& entry) {
    if (!entry.price_id.empty()) {
      return check_priced(entry, entry.usage(), entry.price_id, entry.amount_nano);
    }
    const bool free = entry.kind == kind::kVoid;
    const bool machine = entry.kind == kind::kMachine;
    const bool good = free ? entry.amount_nano == 0 : entry.amount_nano.has_value() == machine;
    if (!good || entry.kind == kind::kPost) {
      return bad_row(entry.seq, "its amount does not fit its kind");
    }
    return {};
  }

  Result<void> check_baseline(const Entry& entry) {
    if (entry.baseline_price_id.empty()) {
      return entry.baseline_nano ? bad_row(entry.seq, "it has a baseline without a price")
                                 : Result<void>{};
    }
    if (entry.kind == kind::kPin) {
      pinned_.insert(pin_key(entry, entry.route));
      GENESIS_TRY_VOID(price(entry, entry.baseline_price_id));
      return {};
    }
    // Ledgers from before there were pins hold rows that name none.
    if (!pinned_.empty() && !pinned_.contains(pin_key(entry, entry.route)) &&
        !pinned_.contains(pin_key(entry, ""))) {
      return bad_row(entry.seq, "its baseline was not pinned before it");
    }
    const bool earns = entry.kind == kind::kPost && entry.delivered != 0;
    if (!entry.baseline_nano && !earns) {
      return {};
    }
    return check_priced(
        entry, entry.baseline_usage(), entry.baseline_price_id, entry.baseline_nano);
  }

  static std::string pin_key(const Entry& entry, std::string_view route) {
    return fmt::format("{}\n{}\n{}", route, entry.baseline_model, entry.baseline_price_id);
  }

  store::Transaction& tx_;
  VerifyReport report_;
  Digest head_ = genesis_hash();
  std::unordered_set<std::string> open_;
  std::map<std::string, TokenPrice> prices_;
  std::unordered_set<std::string> pinned_;
};

std::string_view seal_name(store::SealState state) {
  switch (state) {
    case store::SealState::kSealed:
      return "sealed";
    case store::SealState::kUnsealed:
      return "unsealed";
    case store::SealState::kStale:
      return "stale";
  }
  return "unknown";
}

std::string_view seal_meaning(store::SealState state) {
  switch (state) {
    case store::SealState::kSealed:
      return "every byte of the file is as the gateway left it";
    case store::SealState::kUnsealed:
      return "no seal yet; content checked, unused bytes not";
    case store::SealState::kStale:
      return "another program wrote the file; content checked, unused bytes not";
  }
  return "";
}

// The newest row must be the one that was written last.
Result<void> check_end(store::Transaction& tx, std::int64_t next_row) {
  GENESIS_TRY(const auto written, read_state(tx, "rows"));
  if (written != next_row - 1) {
    return bad_row(next_row, fmt::format("missing; {} rows were written", written.value_or(0)));
  }
  return {};
}

}  // namespace

Result<VerifyReport> verify_rows(store::Transaction& tx) {
  const std::string sql = fmt::format("SELECT {} FROM entries ORDER BY seq", entry_columns());
  GENESIS_TRY(store::Statement select, tx.prepare(sql));
  Verifier verifier(tx);
  while (true) {
    const auto row = select.step();
    if (!row && row.error().code != ErrorCode::kDataLoss) {
      return std::unexpected(row.error());
    }
    if (!row) {
      return bad_row(verifier.next_row(), row.error().message);
    }
    if (!*row) {
      GENESIS_TRY_VOID(check_end(tx, verifier.next_row()));
      GENESIS_TRY_VOID(verify_budgets(tx));
      return verifier.finish();
    }
    const auto entry = read_entry(select);
    if (!entry) {
      return bad_row(verifier.next_row(), entry.error().message);
    }
    GENESIS_TRY_VOID(verifier.check(*entry));
  }
}

Result<VerifyReport> verify_rows(const store::Database& database) {
  std::optional<VerifyReport> report;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(report, verify_rows(tx));
    return {};
  }));
  return std::move(*report);
}

Result<VerifyReport> verify(const std::filesystem::path& path) {
  return verify(store::DatabaseOptions{.path = path});
}

Result<VerifyReport> verify(store::DatabaseOptions options) {
  std::optional<store::FileReport> file;
  if (options.url.empty()) {
    GENESIS_TRY(file, store::check_file(options.path));
  }
  options.mode = store::OpenMode::kReadOnly;
  options.schemas = {schema()};
  GENESIS_TRY(const auto database, store::Database::open(std::move(options)));
  GENESIS_TRY(VerifyReport report, verify_rows(*database));
  report.file = file;
  return report;
}

std::string verify_text(const VerifyReport& report) {
  std::string text = fmt::format("ledger is intact: {} rows", report.rows);
  for (const auto& [kind, count] : report.rows_by_kind) {
    text += fmt::format(", {} {}", count, kind);
  }
  text +=
      fmt::format("\n  last hash   {}\n  in flight   {}\n", report.head_hash, report.open_attempts);
  if (report.file) {
    text += fmt::format("  file        {} pages, {} in the log: {}\n",
                        report.file->pages,
                        report.file->log_frames,
                        seal_meaning(report.file->seal));
  }
  return text;
}

std::string verify_json(const VerifyReport& report) {
  JsonWriter w;
  w.begin_object();
  w.field_bool("intact", true);
  w.field("rows", report.rows);
  w.key("rows_by_kind");
  w.begin_object();
  for (const auto& [kind, count] : report.rows_by_kind) {
    w.field(kind, count);
  }
  w.end_object();
  w.field("open_attempts", report.open_attempts);
  w.field("head_hash", report.head_hash);
  if (report.file) {
    w.field("seal", seal_name(report.file->seal));
    w.field("pages", report.file->pages);
    w.field("log_frames", report.file->log_frames);
  }
  w.end_object();
  return w.take();
}

}  // namespace genesis::ledger
