// The engine process: one model behind the same HTTP routes as the gateway, on a Unix socket or an
// address. Can be used alone in place of TGI or llama-server.
#pragma once

#include "base/result.h"
#include "engine/engine.h"
#include "model/loader.h"
#include "net/http.h"

#include <filesystem>
#include <string>
#include <vector>

namespace genesis::app {

struct EngineAppOptions {
  std::filesystem::path model_path;
  std::string model_name;
  std::filesystem::path draft_path;  // empty: no draft model
  net::Address listen;
  model::LoadOptions load;
  engine::EngineOptions engine;
  std::vector<std::string> adapters;  // "NAME=FOLDER" each
  std::string api_key;                // required when `listen` is beyond loopback
  std::string version;
  bool announce = true;     // print the ready line
  bool supervised = false;  // started by a gateway, which is the only client
};

// Loads, serves until SIGTERM or SIGINT, drains, returns.
Result<void> run_engine(const EngineAppOptions& options);

}  // namespace genesis::app
