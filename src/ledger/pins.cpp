#include "ledger/pins.h"

#include "ledger/entry.h"

namespace genesis::ledger {

namespace {

// The row id of a route's pins; `attempt` counts them.
std::string pin_row_id(std::string_view route) {
  return "pin:" + std::string(route);
}

}  // namespace

Result<void> write_pin(store::Transaction& tx, const BaselinePin& pin, const TokenPrice* price) {
  Entry entry;
  entry.request_id = pin_row_id(pin.route);
  entry.attempt = 1;
  {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT attempt, baseline_model, baseline_price_id FROM entries"
                           " WHERE request_id = ?1 AND kind = 'pin' ORDER BY attempt DESC"
                           " LIMIT 1"));
    GENESIS_TRY(const bool row, select.bind(1, entry.request_id).step());
    if (row) {
      if (select.text(1) == pin.model && select.text(2) == pin.price_id) {
        return {};
      }
      entry.attempt = select.integer(0) + 1;
    } else if (pin.model.empty()) {
      return {};
    }
  }
  entry.unix_ms = pin.unix_ms;
  entry.kind = kind::kPin;
  entry.tenant = "operator";
  entry.key_id = "operator";
  entry.route = pin.route;
  // Of the tier that is saved from; the column may not be empty.
  entry.tier = tier_name(Tier::kCommercial);
  entry.baseline_model = pin.model;
  entry.baseline_price_id = pin.price_id;
  if (price != nullptr) {
    GENESIS_TRY_VOID(remember_price(tx, *price));
  }
  return append_entry(tx, entry);
}

Result<std::vector<BaselinePin>> read_pins(store::Transaction& tx, std::int64_t through_seq) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT seq, unix_ms, route, baseline_model, baseline_price_id"
                         " FROM entries WHERE kind = 'pin' AND seq <= ?1 ORDER BY seq"));
  select.bind(1, through_seq);
  std::vector<BaselinePin> pins;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return pins;
    }
    pins.push_back({.seq = select.integer(0),
                    .unix_ms = select.integer(1),
                    .route = std::string(select.text(2)),
                    .model = std::string(select.text(3)),
                    .price_id = std::string(select.text(4))});
  }
}

}  // namespace genesis::ledger
