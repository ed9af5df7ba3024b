// Where state lives: GENESIS_HOME moves everything, otherwise the XDG folders are respected.
#pragma once

#include "base/result.h"

#include <filesystem>
#include <string>

namespace genesis::app {

// Folders are made on demand with mode 0700. A plain value.
struct Home {
  std::filesystem::path config_file;  // genesis.toml; need not exist
  bool config_file_required = false;  // named by GENESIS_CONFIG or a flag: absence is an error
  std::filesystem::path data;         // ledger database, key pepper
  std::filesystem::path models;       // blobs and manifests
  std::filesystem::path run;          // sockets and the state of a running gateway
  std::filesystem::path cache;        // what can be made again (packed weights); made when used

  std::filesystem::path database() const { return data / "genesis.db"; }

  std::filesystem::path state_file() const { return run / "gateway.json"; }
};

// Reads GENESIS_HOME, GENESIS_CONFIG, XDG_* and HOME, and makes the folders.
Result<Home> open_home();

}  // namespace genesis::app
