// What may be wrong with an installation before anything is started: for `genesis doctor` and
// `genesis config check`.
#pragma once

#include "app/config.h"
#include "app/home.h"
#include "base/result.h"

#include <string>
#include <vector>

namespace genesis::app {

struct Finding {
  std::string name;
  bool ok = false;
  std::string detail;  // what, and for a bad one the next step
};

// What load_config() cannot know from the file alone: that secrets can be read and that the price
// file and the baseline exist. kConfig names the key.
Result<void> check_settings(const Config& config);

// Settings, models of local endpoints, ledger, data folder and address, in this order. Changes
// nothing; reads the whole ledger.
std::vector<Finding> diagnose(const Home& home, const Config& config);

}  // namespace genesis::app
