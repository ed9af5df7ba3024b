// Entries and hash records of the packed cache.
#include "model/packed_cache.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sys/stat.h>
#include <utility>

namespace genesis::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".panels";
constexpr std::string_view kTemporaryMark = ".panels.tmp";
constexpr std::size_t kMaxRecord = 4096;
constexpr std::size_t kReadBytes = 1U << 20;
// Packing the largest model takes minutes; a temporary file older than this has lost its process.
constexpr std::chrono::hours kAbandoned{6};
// A file written to within the tick of its clock could change again and keep its time.
constexpr std::int64_t kSettledNs = 2'000'000'000;

// What tells that a file has not been written to since it was hashed.
struct FileState {
  std::int64_t bytes = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  std::int64_t inode = 0;
  std::int64_t device = 0;

  friend bool operator==(const FileState&, const FileState&) = default;
};

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::optional<FileState> state_of(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return std::nullopt;
  }
  return FileState{.bytes = info.st_size,
                   .modified_ns = nanoseconds(info.st_mtim),
                   .changed_ns = nanoseconds(info.st_ctim),
                   .inode = static_cast<std::int64_t>(info.st_ino),
                   .device = static_cast<std::int64_t>(info.st_dev)};
}

fs::path record_path(const fs::path& folder, const fs::path& file) {
  std::error_code ignored;
  const fs::path real = fs::weakly_canonical(file, ignored);
  return folder / (to_hex(sha256(real.string())).substr(0, 32) + ".json");
}

std::optional<std::string> recorded_hash(const fs::path& record, const FileState& now) {
  const auto text = read_file(record, kMaxRecord);
  const auto document = text ? parse_json(*text) : Result<boost::json::value>(nullptr);
  const auto* object = document ? document->if_object() : nullptr;
  if (object == nullptr) {
    return std::nullopt;
  }
  const auto number = [&](std::string_view key) {
    return get_integer(*object, key).value_or(std::nullopt).value_or(-1);
  };
  const FileState then{.bytes = number("bytes"),
                       .modified_ns = number("modified_ns"),
                       .changed_ns = number("changed_ns"),
                       .inode = number("inode"),
                       .device = number("device")};
  auto hash = get_string(*object, "sha256").value_or(std::nullopt);
  const bool hex = hash && hash->size() == 64 &&
                   hash->find_first_not_of("0123456789abcdef") == std::string::npos;
  return then == now && hex ? std::move(hash) : std::nullopt;
}

void record_hash(const fs::path& record, const FileState& state, const std::string& hash) {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  if (now - std::max(state.modified_ns, state.changed_ns) < kSettledNs) {
    return;
  }
  std::error_code ignored;  // then writing fails, too
  fs::create_directories(record.parent_path(), ignored);
  JsonWriter json;
  json.begin_object();
  json.field("bytes", state.bytes);
  json.field("modified_ns", state.modified_ns);
  json.field("changed_ns", state.changed_ns);
  json.field("inode", state.inode);
  json.field("device", state.device);
  json.field("sha256", hash);
  json.end_object();
  if (const auto written = write_file_atomic(record, json.take(), 0600); !written) {
    log(LogLevel::kWarn, "cannot keep a model's hash", {{"why", written.error().message}});
  }
}

// By reads, not by a mapping, whose pages would count as memory of this process.
Result<std::string> hash_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> buffer(kReadBytes);
  Sha256 sha;
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sha.update(std::string_view(buffer.data(), static_cast<std::size_t>(in.gcount())));
  }
  if (!in.eof()) {
    return fail_param(file.string(), fmt::format("cannot read {}", file.string()), ErrorCode::kIo);
  }
  return to_hex(sha.finish());
}

Result<std::string> file_sha256(const fs::path& file, const fs::path& records) {
  const auto before = state_of(file);
  const fs::path record = records.empty() ? fs::path() : record_path(records, file);
  if (before && !record.empty()) {
    if (auto known = recorded_hash(record, *before)) {
      return *std::move(known);
    }
  }
  GENESIS_TRY(std::string hash, hash_of(file));
  if (before && !record.empty() && state_of(file) == before) {
    record_hash(record, *before, hash);
  }
  return hash;
}

}  // namespace

Result<std::string> weights_sha256(std::span<const fs::path> files, const fs::path& records) {
  std::string all;
  for (const fs::path& file : files) {
    GENESIS_TRY(const std::string one, file_sha256(file, records));
    all += one;
  }
  return files.size() == 1 ? all : to_hex(sha256(all));
}

fs::path PackedCache::entry(const std::string& sha256) const {
  return folder_ / (sha256 + std::string(kSuffix));
}

std::optional<PackedPanels> PackedCache::find(const std::string& sha256, ThreadPool& pool) const {
  const fs::path path = entry(sha256);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return std::nullopt;
  }
  auto file = weights::TensorFile::open(path);
  auto panels = file ? read_panels(*std::move(file), pool)
                     : Result<PackedPanels>(std::unexpected(std::move(file).error()));
  if (panels && weights::metadata_string(*panels->file, "genesis.packed.source") == sha256) {
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);  // for make_room()
    return *std::move(panels);
  }
  log(LogLevel::kWarn,
      "an entry of the packed cache is not usable and is made again",
      {{"entry", path.string()},
       {"why", panels ? std::string("it is of other weights") : panels.error().message}});
  fs::remove(path, ignored);
  return std::nullopt;
}

Result<PackedFileWriter> PackedCache::create(const std::string& sha256,
                                             std::span<const kernel::Format> formats,
                                             std::size_t bytes) const {
  const auto size = static_cast<std::int64_t>(bytes);
  if (size > max_bytes_) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("{} bytes are more than the cache may hold ({})", size, max_bytes_));
  }
  std::error_code error;
  fs::create_directories(folder_, error);
  make_room(size);
  weights::GgufMetadata metadata;
  metadata.put_string("general.architecture", "genesis-panels");
  metadata.put_string("genesis.packed.source", sha256);
  return PackedFileWriter::create(entry(sha256), {.metadata = std::move(metadata)}, formats, bytes);
}

std::vector<CacheEntry> PackedCache::list() const {
  std::vector<CacheEntry> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;  // another process may have deleted it
    if (name.size() == 64 + kSuffix.size() && name.ends_with(kSuffix)) {
      entries.push_back({.sha256 = name.substr(0, 64),
                         .bytes = static_cast<std::int64_t>(at->file_size(gone)),
                         .used = at->last_write_time(gone)});
    }
  }
  std::ranges::sort(entries, {}, &CacheEntry::used);
  return entries;
}

void PackedCache::make_room(std::int64_t bytes) const {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (at->path().filename().string().contains(kTemporaryMark) &&
        now - at->last_write_time(gone) > kAbandoned && !gone) {
      fs::remove(at->path(), gone);
    }
  }
  std::vector<CacheEntry> entries = list();
  std::int64_t total = bytes;
  for (const CacheEntry& each : entries) {
    total += each.bytes;
  }
  for (const CacheEntry& each : entries) {
    if (total <= max_bytes_) {
      break;
    }
    std::error_code gone;  // those who have it mapped keep it
    fs::remove(entry(each.sha256), gone);
    total -= each.bytes;
  }
}

std::int64_t PackedCache::clear() const {
  std::int64_t freed = 0;
  for (const CacheEntry& each : list()) {
    std::error_code gone;
    if (fs::remove(entry(each.sha256), gone)) {
      freed += each.bytes;
    }
  }
  std::error_code ignored;  // there may be none
  fs::remove_all(folder_ / "hashes", ignored);
  return freed;
}

}  // namespace genesis::model
