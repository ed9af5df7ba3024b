// Baseline pins: which model's dated list price the answers of a route are compared with. A pin is
// a row of the ledger, written before the first attempt it applies to; every reservation carries
// the pin in force, and the row that ends it keeps that one. A change starts a new pin and leaves
// older rows as they are, so a baseline cannot be chosen after the traffic is known.
#pragma once

#include "base/result.h"
#include "ledger/price_table.h"
#include "store/database.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

// What a configuration asks for.
struct BaselineRules {
  std::string model;                                       // empty: no baseline
  std::map<std::string, std::string, std::less<>> routes;  // route -> its own baseline model

  bool has_own(std::string_view route) const { return routes.contains(route); }

  std::string_view model_of(std::string_view route) const {
    const auto own = routes.find(route);
    return own != routes.end() ? std::string_view(own->second) : std::string_view(model);
  }
};

// `route` is empty for the pin of all routes without one of their own; `model` is empty where a
// baseline was taken back.
struct BaselinePin {
  std::int64_t seq = 0;
  std::int64_t unix_ms = 0;
  std::string route;
  std::string model;
  std::string price_id;

  bool same_as(const BaselinePin& other) const {
    return route == other.route && model == other.model && price_id == other.price_id;
  }
};

struct PinAndPrice {
  BaselinePin pin;
  std::optional<TokenPrice> price;  // none for a pin without a model
};

// Appends `pin` unless the newest one of its route is the same. `price` is kept beside it; null
// for a pin without a model.
Result<void> write_pin(store::Transaction& tx, const BaselinePin& pin, const TokenPrice* price);

// All pins up to row `through_seq`, oldest first.
Result<std::vector<BaselinePin>> read_pins(store::Transaction& tx, std::int64_t through_seq);

}  // namespace genesis::ledger
