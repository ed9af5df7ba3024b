// Models for local endpoints: found in the store, or pulled first.
#pragma once

#include "app/progress.h"
#include "base/result.h"
#include "hub/model_store.h"

#include <string>

namespace genesis::app {

// Fetches `reference` (empty = the default model) into the store. Runs an event loop of its own
// until done; SIGINT stops it and keeps what was downloaded so far.
Result<hub::InstalledModel> pull_model(hub::ModelStore& store,
                                       const std::string& reference,
                                       const std::string& name,
                                       const OnProgress& progress);

// The stored model of that name; kNotFound tells the command that pulls it.
Result<hub::InstalledModel> find_model(const hub::ModelStore& store, const std::string& name);

// The stored model of that name. Only the default model is pulled when it is missing: it is the one
// that a newcomer has not asked for by name.
Result<hub::InstalledModel> ensure_model(hub::ModelStore& store,
                                         const std::string& name,
                                         const OnProgress& progress);

}  // namespace genesis::app
