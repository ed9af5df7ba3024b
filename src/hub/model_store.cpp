// The store on disk; see the header for its layout.
#include "hub/model_store.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/disk.h"
#include "hub/source.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxNameBytes = 96;
constexpr std::size_t kMaxManifestBytes = 1024 * 1024;
constexpr std::string_view kBlobPrefix = "sha256-";

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("._-").contains(c);
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string manifest_text(const InstalledModel& model) {
  JsonWriter json;
  json.begin_object();
  json.field("schema", std::int64_t{1});
  json.field("name", model.name);
  json.field("source", model.source);
  json.field("revision", model.revision);
  json.field("format", model.format);
  json.field("created_unix_ms", model.created_unix_ms);
  json.key("files");
  json.begin_array();
  for (const StoredFile& file : model.files) {
    json.begin_object();
    json.field("name", file.name);
    json.field("sha256", file.sha256);
    json.field("bytes", file.bytes);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return json.take() + "\n";
}

Result<std::string> needed_string(const boost::json::object& object, std::string_view key) {
  GENESIS_TRY(auto value, get_string(object, key));
  if (!value) {
    return fail_param(std::string(key), fmt::format("'{}' is missing", key));
  }
  return *std::move(value);
}

Result<StoredFile> parse_file(const boost::json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) {
    return fail_param("files", "'files' must hold objects");
  }
  StoredFile file;
  GENESIS_TRY(file.name, needed_string(*object, "name"));
  GENESIS_TRY(file.sha256, needed_string(*object, "sha256"));
  GENESIS_TRY(const auto bytes, get_integer(*object, "bytes"));
  if (!is_sha256(file.sha256) || !bytes || *bytes < 0) {
    return fail_param("files", "a file's 'sha256' or 'bytes' is wrong");
  }
  file.bytes = *bytes;
  return file;
}

Result<InstalledModel> parse_manifest(std::string_view text) {
  GENESIS_TRY(const auto value, parse_json(text));
  const auto* object = value.if_object();
  const auto* files = object == nullptr ? nullptr : object->if_contains("files");
  if (files == nullptr || !files->is_array() || files->get_array().empty()) {
    return fail_param("files", "the list of files is missing or empty");
  }
  InstalledModel model;
  GENESIS_TRY(model.name, needed_string(*object, "name"));
  GENESIS_TRY(model.source, needed_string(*object, "source"));
  GENESIS_TRY(model.revision, needed_string(*object, "revision"));
  GENESIS_TRY(model.format, needed_string(*object, "format"));
  GENESIS_TRY(const auto created, get_integer(*object, "created_unix_ms"));
  model.created_unix_ms = created.value_or(0);
  for (const auto& entry : files->get_array()) {
    GENESIS_TRY(auto file, parse_file(entry));
    model.files.push_back(std::move(file));
  }
  return model;
}

// Files of the store become read-only; a hard link shares its mode with somebody else's file.
void make_read_only(const std::filesystem::path& path) {
  std::error_code ignored;  // a mode is a protection against accidents, not a promise
  if (std::filesystem::hard_link_count(path, ignored) == 1) {
    std::filesystem::permissions(path, std::filesystem::perms(0444), ignored);
  }
}

std::unexpected<Error> no_such_model(std::string_view name, const std::vector<std::string>& names) {
  if (names.empty()) {
    return fail(ErrorCode::kNotFound,
                fmt::format("no model '{}': none is installed", name),
                "genesis pull");
  }
  return fail(
      ErrorCode::kNotFound,
      fmt::format("no model '{}' is installed", name),
      fmt::format("did you mean {}? 'genesis ls' lists them, 'genesis pull' brings new ones",
                  fmt::join(nearest_names(name, names), " or ")));
}

}  // namespace

bool StoredFile::is_there() const {
  std::error_code code;
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  return !code && std::cmp_equal(size, bytes);
}

const StoredFile* InstalledModel::file(std::string_view file_name) const {
  const auto at = std::ranges::find(files, file_name, &StoredFile::name);
  return at == files.end() ? nullptr : &*at;
}

std::int64_t InstalledModel::bytes() const {
  return std::accumulate(
      files.begin(), files.end(), std::int64_t{0}, [](std::int64_t sum, const StoredFile& file) {
        return sum + file.bytes;
      });
}

bool is_model_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name.front() != '.' &&
         name.front() != '-' && std::ranges::all_of(name, is_name_char);
}

std::string make_model_name(std::string_view text) {
  std::string name;
  for (const char c : text) {
    const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    name.push_back(is_name_char(low) ? low : '-');
  }
  name.erase(0, std::min(name.find_first_not_of(".-"), name.size()));
  name.resize(std::min(name.size(), kMaxNameBytes));
  return name.empty() ? "model" : name;
}

std::filesystem::path ModelStore::blob_path(std::string_view sha256) const {
  return root_ / "blobs" / fmt::format("{}{}", kBlobPrefix, sha256);
}

std::filesystem::path ModelStore::manifest_path(std::string_view name) const {
  return root_ / "manifests" / fmt::format("{}.json", name);
}

Result<InstalledModel> ModelStore::read_manifest(const std::string& name) const {
  const std::filesystem::path path = manifest_path(name);
  GENESIS_TRY(const auto text, read_file(path, kMaxManifestBytes));
  auto model = parse_manifest(text);
  if (!model || model->name != name) {
    auto error = fail_param(
        path.string(),
        fmt::format("the manifest {} is damaged: {}",
                    path.string(),
                    model ? std::string("it is of another model") : model.error().message),
        ErrorCode::kDataLoss);
    error.error().hint = fmt::format("genesis rm {}, then pull the model again", name);
    return error;
  }
  for (StoredFile& file : model->files) {
    file.path = blob_path(file.sha256);
  }
  return model;
}

Result<std::vector<InstalledModel>> ModelStore::list() const {
  std::vector<InstalledModel> models;
  std::error_code code;
  std::filesystem::directory_iterator at(root_ / "manifests", code);
  for (const std::filesystem::directory_iterator end; !code && at != end; at.increment(code)) {
    const std::string name = at->path().stem().string();
    if (at->path().extension() != ".json" || !is_model_name(name)) {
      continue;  // a temporary file of a write under way
    }
    auto model = read_manifest(name);
    if (!model && model.error().code == ErrorCode::kNotFound) {
      continue;  // removed between listing and reading
    }
    if (!model) {
      return std::unexpected(std::move(model).error());
    }
    models.push_back(*std::move(model));
  }
  if (code && code != std::errc::no_such_file_or_directory) {
    return fail_param(root_.string(),
                      fmt::format("cannot list {}: {}", root_.string(), code.message()),
                      ErrorCode::kIo);
  }
  std::ranges::sort(models, {}, &InstalledModel::name);
  return models;
}

Result<InstalledModel> ModelStore::find(std::string_view name) const {
  if (is_model_name(name)) {
    auto exact = read_manifest(std::string(name));
    if (exact || exact.error().code != ErrorCode::kNotFound) {
      return exact;
    }
  }
  GENESIS_TRY(auto models, list());
  std::vector<std::string> names;
  std::vector<const InstalledModel*> matches;
  for (const InstalledModel& model : models) {
    names.push_back(model.name);
    const bool is_alias = std::ranges::any_of(known_models(), [&](const KnownModel& known) {
      return known.alias == name && known.name == model.name;
    });
    if (is_alias) {
      return model;
    }
    if (!name.empty() && model.name.starts_with(name)) {
      matches.push_back(&model);
    }
  }
  if (matches.size() == 1) {
    return *matches.front();
  }
  if (matches.size() > 1) {
    std::vector<std::string_view> found;
    std::ranges::transform(matches, std::back_inserter(found), [](const InstalledModel* model) {
      return std::string_view(model->name);
    });
    return fail(ErrorCode::kNotFound,
                fmt::format("'{}' is the beginning of several models", name),
                fmt::format("say which: {}", fmt::join(found, ", ")));
  }
  return no_such_model(name, names);
}

Result<std::filesystem::path> ModelStore::partial_folder() const {
  for (const char* folder : {"blobs", "manifests", "partial"}) {
    GENESIS_TRY_VOID(make_folders(root_ / folder));
  }
  return root_ / "partial";
}

Result<InstalledModel> ModelStore::add(const NewModel& model) {
  if (!is_model_name(model.name)) {
    return fail_param(
        "name",
        fmt::format("'{}' cannot be a model's name: at most {} of a-z 0-9 . _ - are allowed",
                    model.name,
                    kMaxNameBytes));
  }
  if (model.files.empty()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("model '{}' has no files", model.name));
  }
  GENESIS_TRY([[maybe_unused]] const auto partial, partial_folder());
  GENESIS_TRY(const auto lock, FileLock::wait(root_ / ".lock"));
  InstalledModel installed{.name = model.name,
                           .source = model.source,
                           .revision = model.revision,
                           .format = model.format,
                           .created_unix_ms = model.created_unix_ms,
                           .files = {}};
  for (const StagedFile& file : model.files) {
    if (!is_sha256(file.sha256)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a SHA-256", file.sha256));
    }
    const std::filesystem::path blob = blob_path(file.sha256);
    make_read_only(file.path);
    // Also over a blob that is there: the staged bytes have just been verified, those have not.
    GENESIS_TRY_VOID(rename_file(file.path, blob));
    std::error_code ignored;  // rename() leaves both names when they are links to one file
    std::filesystem::remove(file.path, ignored);
    installed.files.push_back(
        {.name = file.name, .sha256 = file.sha256, .bytes = file.bytes, .path = blob});
  }
  GENESIS_TRY_VOID(sync_folder(root_ / "blobs"));
  GENESIS_TRY_VOID(write_file_atomic(manifest_path(model.name), manifest_text(installed)));
  if (const auto cleaned = remove_unused_blobs(); !cleaned) {
    log(LogLevel::kWarn,
        "old model files could not be removed",
        {{"why", cleaned.error().message}});
  }
  return installed;
}

Result<std::filesystem::path> ModelStore::weights_path(const InstalledModel& model) const {
  if (model.format == "gguf") {
    return model.weights().path;
  }
  const std::filesystem::path folder = root_ / "folders" / model.name;
  GENESIS_TRY_VOID(make_folders(root_ / "folders"));
  GENESIS_TRY(const auto lock, FileLock::wait(root_ / ".lock"));
  std::error_code code;
  std::filesystem::remove_all(folder, code);
  GENESIS_TRY_VOID(make_folders(folder));
  for (const StoredFile& file : model.files) {
    // The last part only: a published name is not trusted to stay inside the folder.
    const std::filesystem::path link = folder / std::filesystem::path(file.name).filename();
    std::filesystem::create_symlink(std::filesystem::absolute(file.path), link, code);
    if (code) {
      return fail_param(link.string(),
                        fmt::format("cannot make {}: {}", link.string(), code.message()),
                        ErrorCode::kIo);
    }
  }
  return folder / std::filesystem::path(model.weights().name).filename();
}

Result<void> ModelStore::remove(std::string_view name) {
  std::error_code code;
  const bool there = is_model_name(name) && std::filesystem::exists(manifest_path(name), code);
  if (!there) {
    GENESIS_TRY(const auto models, list());
    std::vector<std::string> names;
    std::ranges::transform(models, std::back_inserter(names), &InstalledModel::name);
    return no_such_model(name, names);
  }
  GENESIS_TRY(const auto lock, FileLock::wait(root_ / ".lock"));
  std::filesystem::remove(manifest_path(name), code);
  if (code) {
    return fail_param(std::string(name),
                      fmt::format("cannot remove '{}': {}", name, code.message()),
                      ErrorCode::kIo);
  }
  GENESIS_TRY_VOID(sync_folder(root_ / "manifests"));
  std::filesystem::remove_all(root_ / "folders" / name, code);
  return remove_unused_blobs();
}

// The caller holds the lock, so no add() is between its blobs and its manifest.
Result<void> ModelStore::remove_unused_blobs() const {
  GENESIS_TRY(const auto models, list());
  std::set<std::string> used;
  for (const InstalledModel& model : models) {
    for (const StoredFile& file : model.files) {
      used.insert(file.path.filename().string());
    }
  }
  std::error_code code;
  std::filesystem::directory_iterator at(root_ / "blobs", code);
  for (const std::filesystem::directory_iterator end; !code && at != end; at.increment(code)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(kBlobPrefix) && !used.contains(name)) {
      std::filesystem::remove(at->path(), code);
    }
  }
  if (code) {
    return fail_param(root_.string(),
                      fmt::format("cannot remove unused files: {}", code.message()),
                      ErrorCode::kIo);
  }
  return {};
}

Result<void> ModelStore::verify(std::string_view name) const {
  if (!is_model_name(name)) {
    return no_such_model(name, {});
  }
  GENESIS_TRY(const auto model, read_manifest(std::string(name)));
  for (const StoredFile& file : model.files) {
    const auto actual = hash_file(file.path);
    if (!actual || actual->sha256 != file.sha256 || actual->bytes != file.bytes) {
      auto error = fail_param(file.path.string(),
                              fmt::format("{} of '{}' {}",
                                          file.name,
                                          name,
                                          actual ? std::string("has changed since it was installed")
                                                 : actual.error().message),
                              ErrorCode::kDataLoss);
      error.error().hint =
          fmt::format("genesis rm {}, then pull it again from {}", name, model.source);
      return error;
    }
  }
  return {};
}

}  // namespace genesis::hub
