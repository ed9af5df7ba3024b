// Appender: the end of the hash chain within one transaction. Reads the chain's head once, then
// numbers, hashes and inserts row after row. Private to the room.
#pragma once

#include "base/result.h"
#include "ledger/entry.h"
#include "store/statement.h"

#include <cstdint>
#include <optional>

namespace genesis::ledger {

// Must not outlive the transaction. Call finish() after the last row, or nothing may be committed.
class Appender {
 public:
  // Asks the database for the head each time: another process, or a transaction undone, may have
  // moved the end.
  static Result<Appender> begin(store::Transaction& tx);

  // Gives `entry` its accounts, number and hashes and appends it. False: the attempt already has a
  // reserve, or an end, as the case may be, and nothing was written. Asserts that it is balanced.
  Result<bool> append(Entry& entry);
  Result<void> finish();

  // A statement failed: the transaction must be undone.
  bool broken() const { return broken_; }

 private:
  explicit Appender(store::Transaction& tx) : tx_(&tx) {}

  Result<void> read_head();

  store::Transaction* tx_;
  std::optional<store::Statement> insert_;
  std::int64_t seq_ = 0;
  Digest hash_ = genesis_hash();
  bool moved_ = false;
  bool broken_ = false;
};

}  // namespace genesis::ledger
