#include "app/home.h"

#include "base/sha256.h"

#include <fmt/format.h>

#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

namespace genesis::app {

namespace {

namespace fs = std::filesystem;

// A Unix socket's path has 108 bytes with its end (unix(7)); the longest name we add is 24.
constexpr std::size_t kLongestRunFolder = 80;

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read once at start
  return value == nullptr ? "" : value;
}

fs::path xdg(const char* variable, const fs::path& fallback) {
  const std::string value = environment(variable);
  return (value.empty() ? fallback : fs::path(value)) / "genesis";
}

Result<void> make_private(const fs::path& folder) {
  std::error_code error;
  const bool existed = fs::exists(folder, error);
  fs::create_directories(folder, error);
  if (error) {
    return fail_param(folder.string(),
                      fmt::format("cannot make folder {}: {}", folder.string(), error.message()),
                      ErrorCode::kIo);
  }
  if (!existed) {
    ::chmod(folder.c_str(), 0700);
  }
  return {};
}

Home layout() {
  Home home;
  const std::string root = environment("GENESIS_HOME");
  if (!root.empty()) {
    const fs::path base = fs::absolute(root);
    home.config_file = base / "genesis.toml";
    home.data = base / "data";
    home.models = base / "models";
    home.run = base / "run";
    home.cache = base / "cache";
    return home;
  }
  const fs::path user = environment("HOME").empty() ? fs::path("/") : fs::path(environment("HOME"));
  home.config_file = xdg("XDG_CONFIG_HOME", user / ".config") / "genesis.toml";
  home.data = xdg("XDG_DATA_HOME", user / ".local/share");
  home.models = home.data / "models";
  home.run = xdg("XDG_STATE_HOME", user / ".local/state") / "run";
  home.cache = xdg("XDG_CACHE_HOME", user / ".cache");
  return home;
}

}  // namespace

Result<Home> open_home() {
  Home home = layout();
  const std::string config = environment("GENESIS_CONFIG");
  if (!config.empty()) {
    home.config_file = config;
    home.config_file_required = true;
  }
  if (home.run.string().size() > kLongestRunFolder) {
    const std::string name = to_hex(sha256(home.run.string())).substr(0, 16);
    home.run = fs::path("/tmp") / fmt::format("genesis-{}-{}", ::geteuid(), name);
  }
  for (const fs::path& folder : {home.data, home.models, home.run}) {
    GENESIS_TRY_VOID(make_private(folder));
  }
  struct stat info{};
  // A folder in /tmp could have been planted by somebody else.
  if (::lstat(home.run.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) ||
      info.st_uid != ::geteuid()) {
    return fail_param(home.run.string(),
                      fmt::format("{} is not a folder of this user", home.run.string()),
                      ErrorCode::kIo);
  }
  return home;
}

}  // namespace genesis::app
