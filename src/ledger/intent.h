// Intent: a row that has been decided on and waits for its commit, with what the commit needs
// besides: the prices it names and what its reservation held. It travels through the intent ring as
// bytes. Private to the room.
#pragma once

#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/price_table.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace genesis::ledger {

struct Intent {
  Entry entry;  // without number and hashes
  // Of the attempt's reservation, in a row that ends one: its time and its upper bound, which
  // budgets hold until now.
  std::int64_t held_ms = 0;
  std::optional<NanoUsd> held_nano;
  std::vector<TokenPrice> prices;  // those that the database may not hold yet
  bool fresh = false;              // set by book(): the row was appended
};

std::string encode_intent(const Intent& intent);
// kDataLoss for anything that encode_intent() cannot have written; never reads beyond `bytes`.
Result<Intent> decode_intent(std::span<const std::uint8_t> bytes);

}  // namespace genesis::ledger
