// A LiteLLM proxy's config.yaml as a genesis.toml: deployments become endpoints, model names become
// routes with their fallbacks, aliases stay aliases. Secrets become { env = "X" }; a key written
// out in the file is never copied and never shown. Everything that has no counterpart here is
// listed with its line.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

struct ImportNote {
  std::size_t line = 0;
  std::string what;
};

struct ImportedConfig {
  std::string toml;
  std::size_t endpoints = 0;
  std::size_t routes = 0;
  std::vector<ImportNote> left_out;  // by line
};

Result<ImportedConfig> import_litellm(std::string_view yaml);

}  // namespace genesis::app
