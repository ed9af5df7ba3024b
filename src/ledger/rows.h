// The ledger's rows for people and programs: `genesis ledger ls`.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/result.h"
#include "store/database.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

// One row as it stands; see schema.cpp for the columns.
struct LedgerRow {
  std::int64_t seq = 0;
  std::int64_t unix_ms = 0;
  std::string kind;
  std::string request_id;
  std::int64_t attempt = 0;
  std::string tenant;
  std::string key_id;
  std::string route;
  std::string endpoint;
  std::string tier;
  std::string model;
  Usage usage;
  std::optional<NanoUsd> amount;  // nullopt: no price was known
  std::string price_id;
  std::string baseline_model;  // of the pin in force; see pins.h
  std::string baseline_price_id;
  std::optional<NanoUsd> baseline;  // nullopt: earns none
  std::string finish;
  bool delivered = false;
  std::int64_t first_token_ms = -1;
  std::int64_t total_ms = 0;
  std::string note;
  std::string team;
  std::string agent;
  std::string disputed;  // the upstream's usage as JSON, empty if it is what was booked
  std::string hash;      // hexadecimal
};

struct RowFilter {
  std::int64_t since_ms = 0;
  std::int64_t limit = 0;  // the newest so many; 0 = all
  bool disputed = false;   // only rows whose count the upstream told differently
};

// Oldest first.
Result<std::vector<LedgerRow>> list_rows(const store::Database& database, const RowFilter& filter);

// All rows of one request, oldest first.
Result<std::vector<LedgerRow>> rows_of_request(const store::Database& database,
                                               std::string_view request_id);

// As list_rows(), one at a time and without a limit; an error of `each` ends it.
Result<void> for_each_row(const store::Database& database,
                          std::int64_t since_ms,
                          const std::function<Result<void>(const LedgerRow&)>& each);

// RFC 4180; amounts in nano-USD and in USD.
std::string row_csv_header();
std::string row_csv(const LedgerRow& row);

std::string row_json(const LedgerRow& row);

}  // namespace genesis::ledger
