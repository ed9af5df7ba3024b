#include "ledger/appender.h"

#include "base/check.h"
#include "ledger/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace genesis::ledger {

namespace {

constexpr int kColumns = 35;

// A place that is taken is no error of the statement: PostgreSQL would give up the transaction.
const std::string& insert_sql() {
  static const std::string sql = [] {
    std::string values = "?1";
    for (int i = 2; i <= kColumns; ++i) {
      values += fmt::format(",?{}", i);
    }
    return fmt::format("INSERT INTO entries({}) VALUES({}) ON CONFLICT DO NOTHING RETURNING seq",
                       entry_columns(),
                       values);
  }();
  return sql;
}

}  // namespace

Result<Appender> Appender::begin(store::Transaction& tx) {
  Appender appender(tx);
  GENESIS_TRY_VOID(appender.read_head());
  GENESIS_TRY(store::Statement insert, tx.prepare(insert_sql()));
  appender.insert_.emplace(std::move(insert));
  return appender;
}

Result<void> Appender::read_head() {
  GENESIS_TRY(store::Statement head,
              tx_->prepare("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1"));
  GENESIS_TRY(const bool row, head.step());
  GENESIS_TRY(const auto written, read_state(*tx_, "rows"));
  // Rows that were taken away leave a hole for ever, which verification finds.
  seq_ = std::max(written.value_or(0), row ? head.integer(0) : 0);
  if (row) {
    const auto hash = head.blob(1);
    if (hash.size() != hash_.size()) {
      return fail(ErrorCode::kDataLoss, "the last row of the ledger is damaged");
    }
    std::memcpy(hash_.data(), hash.data(), hash.size());
  }
  return {};
}

Result<bool> Appender::append(Entry& entry) {
  entry.set_accounts();
  // One amount, two different accounts: the sum over all accounts stays zero.
  GENESIS_CHECK(entry.debit_account != entry.credit_account);
  GENESIS_CHECK(entry.amount_nano.value_or(0) >= 0);
  entry.seq = seq_ + 1;
  entry.prev_hash = hash_;
  entry.hash = entry.compute_hash();
  int index = 1;
  const auto bind = [&](const auto& value) { insert_->bind(index++, value); };
  each_column(entry, bind);
  insert_->bind_blob(index, entry.prev_hash).bind_blob(index + 1, entry.hash);
  index += 2;
  each_later_column(entry, bind);
  GENESIS_CHECK(index == kColumns + 1);
  const auto inserted = insert_->step();
  insert_->reset();
  if (!inserted) {
    broken_ = true;
    return std::unexpected(inserted.error());
  }
  if (*inserted) {
    seq_ = entry.seq;
    hash_ = entry.hash;
    moved_ = true;
  }
  return *inserted;
}

Result<void> Appender::finish() {
  if (!moved_) {
    return {};
  }
  // The chain alone cannot tell that its newest rows are gone.
  GENESIS_TRY(store::Statement count,
              tx_->prepare("UPDATE ledger_state SET value = ?1 WHERE name = 'rows'"));
  return count.bind(1, seq_).run();
}

Result<void> append_entry(store::Transaction& tx, Entry& entry) {
  GENESIS_TRY(Appender appender, Appender::begin(tx));
  GENESIS_TRY(const bool fresh, appender.append(entry));
  if (!fresh) {
    return fail(ErrorCode::kConflict, "the ledger has a row in that place already");
  }
  return appender.finish();
}

}  // namespace genesis::ledger
