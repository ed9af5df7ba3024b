// `genesis ledger verify`: recomputes everything that can be recomputed, without trusting the
// program that wrote it. The file (store/file_check.h: every byte, where a seal exists), then row
// by row the numbering, the hash chain, the accounts, each attempt's life (one reserve, at most one
// end), and each amount and baseline from the kept prices.
#pragma once

#include "base/result.h"
#include "store/database.h"
#include "store/file_check.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace genesis::ledger {

struct VerifyReport {
  std::int64_t rows = 0;
  std::string head_hash;  // hexadecimal, of the last row
  std::map<std::string, std::int64_t> rows_by_kind;
  std::int64_t open_attempts = 0;         // reserved, neither posted nor voided yet
  std::optional<store::FileReport> file;  // none with a database server
};

// kDataLoss tells the first thing that is wrong; for a row, `param` is "row <seq>". Opens the
// database read-only, so it works beside a running gateway.
Result<VerifyReport> verify(const std::filesystem::path& database);
// The same, wherever the options say the database is; a server's files are its own business.
Result<VerifyReport> verify(store::DatabaseOptions options);

// The rows alone.
Result<VerifyReport> verify_rows(const store::Database& database);
Result<VerifyReport> verify_rows(store::Transaction& tx);

// For people: one line a finding.
std::string verify_text(const VerifyReport& report);
std::string verify_json(const VerifyReport& report);

}  // namespace genesis::ledger
