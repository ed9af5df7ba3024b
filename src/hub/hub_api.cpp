// Hub addresses, answers and cache; see the header for the sources of the formats.
#include "hub/hub_api.h"

#include "base/file.h"
#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxFiles = 100'000;
constexpr std::size_t kCommitBytes = 40;  // git SHA-1 in hex

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

bool is_hex(std::string_view text, std::size_t size) {
  return text.size() == size &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// RFC 3986 unreserved characters stay, also '/' where `keep_slash`.
std::string percent_encode(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").contains(c) || (keep_slash && c == '/');
    if (plain) {
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// A file name from the Hub becomes part of a local path: nothing may lead outside.
bool is_inner_name(std::string_view name) {
  return !name.empty() && name.size() <= 1024 && !name.starts_with('/') && !name.contains('\\') &&
         !name.contains('\0') && !fmt::format("/{}/", name).contains("/../");
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string folder_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash + 1));
}

bool ends_with_word(std::string_view stem, std::string_view word) {
  return stem.ends_with(word) &&
         (stem.size() == word.size() ||
          std::string_view("-._/").contains(stem[stem.size() - word.size() - 1]));
}

std::string_view gguf_stem(std::string_view name) {
  return name.substr(0, name.size() - 5);
}

// "x-00001-of-00003": the naming of llama.cpp's gguf-split and of sharded safetensors.
bool is_split(std::string_view name) {
  return name.contains("-of-0");
}

std::vector<HubFile> whole_ggufs(const std::vector<HubFile>& files) {
  std::vector<HubFile> found;
  std::ranges::copy_if(files, std::back_inserter(found), [](const HubFile& file) {
    const std::string name = lowered(file.name);
    return name.ends_with(".gguf") && !is_split(name) && !base_name(name).starts_with("mmproj");
  });
  std::ranges::sort(found, {}, &HubFile::name);
  return found;
}

std::string name_list(const std::vector<HubFile>& files) {
  constexpr std::size_t kShown = 12;
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < std::min(files.size(), kShown); ++i) {
    names.push_back(files[i].name);
  }
  return fmt::format("{}{}", fmt::join(names, ", "), files.size() > kShown ? ", ..." : "");
}

const HubFile* with_quantization(const std::vector<HubFile>& ggufs, std::string_view quantization) {
  const std::string wanted = lowered(quantization);
  const auto at = std::ranges::find_if(ggufs, [&](const HubFile& file) {
    return ends_with_word(gguf_stem(lowered(file.name)), wanted);
  });
  return at == ggufs.end() ? nullptr : &*at;
}

// A safetensors file and what its loader needs from the same folder.
Result<std::vector<HubFile>> with_companions(const std::vector<HubFile>& files,
                                             const HubFile& weights) {
  std::vector<HubFile> chosen{weights};
  const std::string folder = folder_of(weights.name);
  constexpr std::array<std::pair<std::string_view, bool>, 5> kCompanions{
      {{"config.json", true},
       {"tokenizer.json", true},
       {"tokenizer_config.json", false},
       {"generation_config.json", false},
       {"chat_template.jinja", false}}};
  for (const auto& [name, needed] : kCompanions) {
    const auto at = std::ranges::find(files, folder + std::string(name), &HubFile::name);
    if (at != files.end()) {
      chosen.push_back(*at);
    } else if (needed) {
      return fail(ErrorCode::kNotFound,
                  fmt::format("{} needs {}{}, which is not there", weights.name, folder, name));
    }
  }
  return chosen;
}

// The index of sharded weights with its companions, then every shard of the same folder. Whether
// they are the shards that the index names is checked when the model is opened.
Result<std::vector<HubFile>> with_shards(const std::vector<HubFile>& files, const HubFile& index) {
  GENESIS_TRY(auto chosen, with_companions(files, index));
  const std::string folder = folder_of(index.name);
  for (const HubFile& file : files) {
    const std::string_view name = base_name(file.name);
    if (folder_of(file.name) == folder && name.ends_with(".safetensors") && is_split(name)) {
      chosen.push_back(file);
    }
  }
  return chosen;
}

Result<std::vector<HubFile>> chosen_by_name(const std::vector<HubFile>& files,
                                            const std::vector<HubFile>& ggufs,
                                            const ModelSource& source) {
  const auto exact = std::ranges::find(files, source.file, &HubFile::name);
  if (exact != files.end() && source.file.ends_with(".safetensors")) {
    return with_companions(files, *exact);
  }
  if (exact != files.end() && lowered(source.file).ends_with(".gguf")) {
    return std::vector<HubFile>{*exact};
  }
  if (exact != files.end()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{} is not a GGUF or safetensors file", source.file),
        "pickle checkpoints (.bin, .pt, .pth) are refused: they can run any program when loaded");
  }
  if (const HubFile* found = with_quantization(ggufs, source.file)) {
    return std::vector<HubFile>{*found};
  }
  return fail(
      ErrorCode::kNotFound,
      fmt::format("{} has no file or quantization '{}'", source.repository, source.file),
      ggufs.empty() ? "it has no GGUF files" : fmt::format("there are: {}", name_list(ggufs)));
}

Result<HubFile> parse_sibling(const boost::json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) {
    return fail(ErrorCode::kUpstream, "the Hub answered with a file entry that is no object");
  }
  GENESIS_TRY(const auto name, get_string(*object, "rfilename", "siblings[]."));
  if (!name || !is_inner_name(*name)) {
    return fail(ErrorCode::kUpstream,
                "the Hub answered with a file name that leads outside the repository");
  }
  HubFile file{.name = *name, .bytes = 0, .sha256 = {}};
  GENESIS_TRY(const auto bytes, get_integer(*object, "size", "siblings[]."));
  file.bytes = std::max<std::int64_t>(bytes.value_or(0), 0);
  if (const auto* lfs = object->if_contains("lfs"); lfs != nullptr && lfs->is_object()) {
    GENESIS_TRY(const auto sha256, get_string(lfs->get_object(), "sha256", "siblings[].lfs."));
    file.sha256 = sha256 && is_hex(*sha256, 64) ? *sha256 : std::string();
  }
  return file;
}

std::filesystem::path cache_folder(const HubSettings& settings, std::string_view repository) {
  std::string folder = "models--";
  for (const char c : repository) {
    folder += c == '/' ? std::string("--") : std::string(1, c);
  }
  return settings.hub_cache / folder;
}

}  // namespace

std::string hub_info_url(const HubSettings& settings, const ModelSource& source) {
  return fmt::format("{}/api/models/{}/revision/{}?blobs=true",
                     settings.hub_endpoint,
                     source.repository,
                     percent_encode(source.revision, false));
}

std::string hub_file_url(const HubSettings& settings,
                         std::string_view repository,
                         std::string_view commit,
                         std::string_view file) {
  return fmt::format("{}/{}/resolve/{}/{}",
                     settings.hub_endpoint,
                     repository,
                     percent_encode(commit, false),
                     percent_encode(file, true));
}

Result<HubRepository> parse_hub_info(std::string_view body) {
  const auto page = parse_json(body);
  if (!page || !page->is_object()) {
    return fail(ErrorCode::kUpstream, "the Hub answered with something else than a JSON object");
  }
  GENESIS_TRY(const auto commit, get_string(page->get_object(), "sha"));
  const auto* list = page->get_object().if_contains("siblings");
  if (!commit || !is_hex(*commit, kCommitBytes) || list == nullptr || !list->is_array() ||
      list->get_array().size() > kMaxFiles) {
    return fail(ErrorCode::kUpstream, "the Hub's answer lacks the commit or the list of files");
  }
  HubRepository repository{.commit = *commit, .files = {}};
  for (const auto& value : list->get_array()) {
    GENESIS_TRY(auto file, parse_sibling(value));
    repository.files.push_back(std::move(file));
  }
  return repository;
}

Result<std::vector<HubFile>> choose_hub_files(const std::vector<HubFile>& files,
                                              const ModelSource& source) {
  const std::vector<HubFile> ggufs = whole_ggufs(files);
  if (!source.file.empty()) {
    return chosen_by_name(files, ggufs, source);
  }
  for (const std::string_view quantization : {"Q8_0", "Q4_K_M", "Q4_1"}) {
    if (const HubFile* found = with_quantization(ggufs, quantization)) {
      return std::vector<HubFile>{*found};
    }
  }
  if (!ggufs.empty()) {
    return std::vector<HubFile>{ggufs.front()};
  }
  const HubFile* weights = nullptr;
  const HubFile* index = nullptr;
  bool split = false;
  bool pickle = false;
  for (const HubFile& file : files) {
    const std::string_view name = base_name(file.name);
    split = split || is_split(name);
    pickle = pickle || name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth");
    if (name == "model.safetensors" &&
        (weights == nullptr || file.name.size() < weights->name.size())) {
      weights = &file;
    }
    if (name == kShardIndex && (index == nullptr || file.name.size() < index->name.size())) {
      index = &file;
    }
  }
  if (weights != nullptr) {
    return with_companions(files, *weights);
  }
  if (index != nullptr) {
    return with_shards(files, *index);
  }
  if (split) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the weights of {} are split over several files", source.repository),
        "take a repository with one GGUF file, usually named like it with '-GGUF' at the end");
  }
  if (pickle) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} has only pickle checkpoints, which can run any program when loaded",
                            source.repository),
                "take a repository with GGUF or safetensors files");
  }
  return fail(ErrorCode::kNotFound,
              fmt::format("{} has no GGUF or safetensors weights", source.repository),
              files.empty() ? "" : fmt::format("it has: {}", name_list(files)));
}

std::optional<std::string> cached_commit(const HubSettings& settings, const ModelSource& source) {
  const std::filesystem::path folder = cache_folder(settings, source.repository);
  std::error_code code;
  if (is_hex(source.revision, kCommitBytes)) {
    return std::filesystem::is_directory(folder / "snapshots" / source.revision, code)
               ? std::optional(source.revision)
               : std::nullopt;
  }
  const auto commit = read_file(folder / "refs" / source.revision, kCommitBytes + 2);
  if (!commit) {
    return std::nullopt;
  }
  const std::string text = commit->substr(0, kCommitBytes);
  return is_hex(text, kCommitBytes) ? std::optional(text) : std::nullopt;
}

std::optional<std::filesystem::path> cached_file(const HubSettings& settings,
                                                 std::string_view repository,
                                                 std::string_view commit,
                                                 std::string_view file) {
  if (settings.hub_cache.empty() || !is_inner_name(file)) {
    return std::nullopt;
  }
  std::error_code code;
  const auto path =
      cache_folder(settings, repository) / "snapshots" / std::string(commit) / std::string(file);
  auto real = std::filesystem::canonical(path, code);
  return !code && std::filesystem::is_regular_file(real, code) ? std::optional(std::move(real))
                                                               : std::nullopt;
}

std::vector<HubFile> cached_files(const HubSettings& settings,
                                  std::string_view repository,
                                  std::string_view commit) {
  std::vector<HubFile> files;
  const auto root = cache_folder(settings, repository) / "snapshots" / std::string(commit);
  std::error_code code;
  for (std::filesystem::recursive_directory_iterator at(root, code), end; !code && at != end;
       at.increment(code)) {
    std::error_code ignored;  // a broken link is simply not a file
    if (at->is_regular_file(ignored) && files.size() < kMaxFiles) {
      const std::uintmax_t bytes = at->file_size(ignored);
      files.push_back({.name = at->path().lexically_relative(root).generic_string(),
                       .bytes = ignored ? 0 : static_cast<std::int64_t>(bytes),
                       .sha256 = {}});
    }
  }
  return files;
}

}  // namespace genesis::hub
