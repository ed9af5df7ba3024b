// Reads the environment once; see the header for the names and their order.
#include "hub/settings.h"

#include "base/file.h"

#include <cstdlib>
#include <string_view>

namespace genesis::hub {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// huggingface_hub's reading of a truth value (constants.py, ENV_VARS_TRUE_VALUES).
bool is_true(std::string value) {
  for (char& c : value) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string without_trailing_slashes(std::string url) {
  while (url.ends_with('/')) {
    url.pop_back();
  }
  return url;
}

std::string trimmed(std::string text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::filesystem::path hub_home() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) {
    return home;
  }
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return std::filesystem::path(cache) / "huggingface";
  }
  const std::string home = variable("HOME");
  return home.empty() ? std::filesystem::path()
                      : std::filesystem::path(home) / ".cache" / "huggingface";
}

std::string read_token(const std::filesystem::path& home) {
  if (std::string token = trimmed(variable("HF_TOKEN")); !token.empty()) {
    return token;
  }
  const std::string named = variable("HF_TOKEN_PATH");
  const std::filesystem::path path = named.empty() ? home / "token" : std::filesystem::path(named);
  constexpr std::size_t kMaxTokenBytes = 4096;
  auto token = read_file(path, kMaxTokenBytes);
  return token ? trimmed(std::move(*token)) : std::string();
}

}  // namespace

HubSettings HubSettings::from_environment() {
  HubSettings settings;
  if (std::string endpoint = without_trailing_slashes(variable("HF_ENDPOINT")); !endpoint.empty()) {
    settings.hub_endpoint = std::move(endpoint);
  }
  settings.hub_offline = is_true(variable("HF_HUB_OFFLINE"));
  const std::filesystem::path home = hub_home();
  const std::string cache = variable("HF_HUB_CACHE");
  if (!cache.empty()) {
    settings.hub_cache = cache;
  } else if (!home.empty()) {
    settings.hub_cache = home / "hub";
  }
  settings.hub_token = read_token(home);
  for (const char* name : {"GENESIS_PYPI_INDEX", "PIP_INDEX_URL"}) {
    if (std::string index = without_trailing_slashes(variable(name)); !index.empty()) {
      settings.package_index = std::move(index);
      break;
    }
  }
  return settings;
}

}  // namespace genesis::hub
