// What the environment says about model sources: the variables of huggingface_hub and pip,
// respected.
#pragma once

#include <filesystem>
#include <string>

namespace genesis::hub {

struct HubSettings {
  std::string hub_endpoint = "https://huggingface.co";  // HF_ENDPOINT
  std::string hub_token;     // HF_TOKEN, else the file HF_TOKEN_PATH or $HF_HOME/token
  bool hub_offline = false;  // HF_HUB_OFFLINE=1
  std::filesystem::path
      hub_cache;  // HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub
  std::string package_index = "https://pypi.org/simple";  // GENESIS_PYPI_INDEX, else PIP_INDEX_URL

  static HubSettings from_environment();
};

}  // namespace genesis::hub
