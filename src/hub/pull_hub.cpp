// Pulling from the Hugging Face Hub, or from its local cache when the files are there.
#include "base/log.h"
#include "base/sha256.h"
#include "hub/download.h"
#include "hub/puller.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace genesis::hub {

namespace {

constexpr std::size_t kMaxInfoBytes = 64 * 1024 * 1024;  // repositories with 100,000 files

}  // namespace

net::Headers Puller::hub_headers() const {
  net::Headers headers;
  if (!request_.settings.hub_token.empty()) {
    headers.add("Authorization", "Bearer " + request_.settings.hub_token);
  }
  return headers;
}

// The commit and its files, from the Hub; from the cache when offline or when the Hub is silent.
Task<Result<HubRepository>> Puller::look_up(const ModelSource& source) {
  const HubSettings& settings = request_.settings;
  const auto commit = cached_commit(settings, source);
  if (settings.hub_offline) {
    if (!commit) {
      co_return fail(ErrorCode::kUnavailable,
                     fmt::format("HF_HUB_OFFLINE is set and {} is not in the local cache {}",
                                 source.to_string(),
                                 settings.hub_cache.string()),
                     "unset HF_HUB_OFFLINE, or name a local file or a pypi: source");
    }
    co_return HubRepository{.commit = *commit,
                            .files = cached_files(settings, source.repository, *commit)};
  }
  report(fmt::format("looking up {}", source.to_string()), 0, 0);
  const auto page = co_await fetch_text(
      fetcher_,
      {.url = hub_info_url(settings, source), .headers = hub_headers(), .cancel = request_.cancel},
      kMaxInfoBytes,
      source.to_string());
  if (page) {
    co_return parse_hub_info(*page);
  }
  const bool silent =
      page.error().code == ErrorCode::kUnavailable || page.error().code == ErrorCode::kTimeout;
  if (silent && commit) {
    log(LogLevel::kWarn,
        "the Hub does not answer; taking the copy in the local cache",
        {{"why", page.error().message}, {"commit", *commit}});
    co_return HubRepository{.commit = *commit,
                            .files = cached_files(settings, source.repository, *commit)};
  }
  co_return std::unexpected(page.error());
}

Task<Result<InstalledModel>> Puller::from_hub(ModelSource source) {
  GENESIS_CO_TRY(const auto repository, co_await look_up(source));
  GENESIS_CO_TRY(const auto chosen, choose_hub_files(repository.files, source));
  source.revision = repository.commit;
  source.file = chosen.front().name;
  const Plan plan{.source = source,
                  .fallback_name = source.repository.substr(source.repository.find('/') + 1)};
  GENESIS_CO_TRY(const auto lock, co_await lock_source(plan));
  GENESIS_CO_TRY(auto present, already_there(plan));
  if (present) {
    co_return *std::move(present);
  }
  GENESIS_CO_TRY(const auto folder, store_.partial_folder());
  std::vector<StagedFile> staged;
  for (const HubFile& file : chosen) {
    const std::string key = fmt::format("{}.{}", source_key(source), staged.size());
    GENESIS_CO_TRY(auto one, co_await stage_hub_file(source, file, folder, key));
    staged.push_back(std::move(one));
  }
  co_return admit(plan, std::move(staged));
}

Task<Result<StagedFile>> Puller::stage_hub_file(const ModelSource& source,
                                                HubFile file,
                                                std::filesystem::path folder,
                                                std::string key) {
  const std::string name = std::filesystem::path(file.name).filename().string();
  const HubSettings& settings = request_.settings;
  if (const auto cached = cached_file(settings, source.repository, source.revision, file.name)) {
    GENESIS_CO_TRY(auto linked, stage(link_or_copy, *cached, folder / (key + ".staged"), name));
    if (file.sha256.empty() || linked.sha256 == file.sha256) {
      co_return linked;
    }
    log(LogLevel::kWarn,
        "the copy in the local Hub cache is damaged; downloading the file",
        {{"file", cached->string()}});
    std::error_code ignored;  // only a second name of the damaged copy
    std::filesystem::remove(linked.path, ignored);
  }
  if (settings.hub_offline) {
    co_return fail(ErrorCode::kUnavailable,
                   fmt::format("HF_HUB_OFFLINE is set and {} is not in the local cache", file.name),
                   "unset HF_HUB_OFFLINE");
  }
  DownloadRequest request{
      .url = hub_file_url(settings, source.repository, source.revision, file.name),
      .headers = hub_headers(),
      .sha256 = file.sha256,
      .bytes = file.bytes,
      .folder = folder,
      .key = file.sha256.empty() ? key : "sha256-" + file.sha256,
      .what = file.name,
      .cancel = request_.cancel};
  const std::string phase = fmt::format("downloading {}", file.name);
  GENESIS_CO_TRY(
      auto done,
      co_await download(fetcher_, std::move(request), [&](std::int64_t bytes, std::int64_t total) {
        report(phase, bytes, total);
      }));
  co_return StagedFile{.name = name,
                       .path = std::move(done.path),
                       .sha256 = std::move(done.sha256),
                       .bytes = done.bytes};
}

}  // namespace genesis::hub
