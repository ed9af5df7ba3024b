// The Hugging Face Hub's answers, parsed, and the choice of files; and the layout of its local
// cache (huggingface_hub docs, "Understand caching"). Pure but for the cache look-up.
#pragma once

#include "base/result.h"
#include "hub/settings.h"
#include "hub/source.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

// The file that names the shards of safetensors weights (transformers' SAFE_WEIGHTS_INDEX_NAME).
inline constexpr std::string_view kShardIndex = "model.safetensors.index.json";

struct HubFile {
  std::string name;        // path inside the repository
  std::int64_t bytes = 0;  // 0 = not told
  std::string sha256;      // of files kept in LFS; empty for the others
};

struct HubRepository {
  std::string commit;
  std::vector<HubFile> files;
};

// GET {endpoint}/api/models/{repo}/revision/{rev}?blobs=true
std::string hub_info_url(const HubSettings& settings, const ModelSource& source);
Result<HubRepository> parse_hub_info(std::string_view body);
// GET {endpoint}/{repo}/resolve/{commit}/{file}
std::string hub_file_url(const HubSettings& settings,
                         std::string_view repository,
                         std::string_view commit,
                         std::string_view file);

// What to fetch, the weights file first: one GGUF (the named file or quantization, else Q8_0,
// Q4_K_M, Q4_1, else the first), or model.safetensors with config.json and tokenizer.json. Errors
// list what is there; split weights are kUnsupported.
Result<std::vector<HubFile>> choose_hub_files(const std::vector<HubFile>& files,
                                              const ModelSource& source);

// The commit that the local cache has for a revision, if any.
std::optional<std::string> cached_commit(const HubSettings& settings, const ModelSource& source);
// A file of a snapshot in the local cache, symbolic links followed.
std::optional<std::filesystem::path> cached_file(const HubSettings& settings,
                                                 std::string_view repository,
                                                 std::string_view commit,
                                                 std::string_view file);
// Every file of a snapshot in the local cache.
std::vector<HubFile> cached_files(const HubSettings& settings,
                                  std::string_view repository,
                                  std::string_view commit);

}  // namespace genesis::hub
