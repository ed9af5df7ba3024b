// load_model(): file or folder -> spec, executor, text assets and hash.
#include "model/loader.h"

#include "base/file.h"
#include "base/log.h"
#include "kernel/cpu.h"
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/hf_spec.h"
#include "model/memory_need.h"
#include "model/packed_cache.h"
#include "model/text_assets.h"
#include "weights/tensor_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace genesis::model {
namespace {

constexpr std::size_t kMaxConfig = 16U << 20;

// The weights file of what the user named: itself, or the one inside a model folder.
Result<std::filesystem::path> weights_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return path;
  }
  if (auto single = path / "model.safetensors"; std::filesystem::exists(single, error)) {
    return single;
  }
  if (auto index = path / "model.safetensors.index.json"; std::filesystem::exists(index, error)) {
    return index;
  }
  return fail(ErrorCode::kNotFound, fmt::format("{} holds no model.safetensors", path.string()));
}

Result<ModelSpec> read_spec(const weights::TensorFile& file, const std::filesystem::path& path) {
  if (file.format() == "gguf") {
    return spec_from_gguf(file);
  }
  GENESIS_TRY(const std::string config, read_file(path.parent_path() / "config.json", kMaxConfig));
  return spec_from_config(config, file);
}

// Says what the load will take before it takes it, and refuses what cannot fit.
Result<std::int64_t> announce_memory(const weights::TensorFile& file,
                                     const ModelSpec& spec,
                                     const LoadOptions& options) {
  const MemoryNeed need = memory_need(file, spec, options);
  const std::int64_t free_bytes = memory_free();
  log(LogLevel::kInfo, memory_sentence(need, free_bytes), {{"model", spec.name}});
  if (!options.force) {
    GENESIS_TRY_VOID(check_memory(need, free_bytes));
  }
  return need.weights;
}

int thread_count(const LoadOptions& options) {
  return std::clamp(options.threads > 0 ? options.threads : kernel::physical_cores(), 1, 256);
}

std::filesystem::path records(const LoadOptions& options) {
  return options.cache_folder.empty() ? std::filesystem::path() : options.cache_folder / "hashes";
}

// Packs into memory while the files are hashed, which takes about as long.
Result<std::unique_ptr<CpuExecutor>> pack(const weights::TensorFile& file,
                                          const ModelSpec& spec,
                                          const LoadOptions& options) {
  Result<std::string> hash;
  std::jthread hasher([&] { hash = weights_sha256(file.files(), records(options)); });
  GENESIS_TRY(auto executor, CpuExecutor::create(file, spec, options));
  hasher.join();
  GENESIS_TRY(std::string whole, std::move(hash));
  executor->set_weights_sha256(std::move(whole));
  return executor;
}

// Packs into a new entry of the cache, whose memory is then the model's.
Result<std::unique_ptr<CpuExecutor>> pack_into(const PackedCache& cache,
                                               const std::string& hash,
                                               const weights::TensorFile& file,
                                               const ModelSpec& spec,
                                               const LoadOptions& options) {
  std::optional<PackedFileWriter> writer;
  std::span<const std::uint8_t> panels;
  PanelPlace place;
  place.allocate = [&](std::span<const kernel::Format> formats,
                       std::size_t bytes) -> Result<MemoryRegion> {
    auto created = cache.create(hash, formats, bytes);
    auto region = created ? created->map()
                          : Result<MemoryRegion>(std::unexpected(std::move(created).error()));
    if (!region) {
      log(LogLevel::kWarn, "packed weights are not kept", {{"why", region.error().message}});
      return MemoryRegion::allocate(bytes, "the weights");
    }
    writer.emplace(*std::move(created));
    panels = {region->data(), region->size()};
    return region;
  };
  GENESIS_TRY(auto executor, CpuExecutor::create(file, spec, options, place));
  if (writer) {
    ThreadPool pool(thread_count(options));
    if (const auto kept = writer->finish(panels, pool, false); !kept) {
      log(LogLevel::kWarn, "packed weights are not kept", {{"why", kept.error().message}});
    }
  }
  return executor;
}

Result<std::unique_ptr<CpuExecutor>> use_panels(const PackedPanels& panels,
                                                const weights::TensorFile& file,
                                                const ModelSpec& spec,
                                                const LoadOptions& options) {
  PanelPlace place;
  place.ready = &panels;
  return CpuExecutor::create(file, spec, options, place);
}

Result<std::unique_ptr<CpuExecutor>> through_cache(const weights::TensorFile& file,
                                                   const ModelSpec& spec,
                                                   const LoadOptions& options) {
  const PackedCache cache(options.cache_folder, options.cache_bytes);
  GENESIS_TRY(const std::string hash, weights_sha256(file.files(), records(options)));
  ThreadPool pool(thread_count(options));
  if (const auto panels = cache.find(hash, pool)) {
    auto executor = use_panels(*panels, file, spec, options);
    if (executor) {
      log(LogLevel::kInfo, "packed weights are mapped from the cache", {{"sha256", hash}});
      (*executor)->set_weights_sha256(hash);
      return executor;
    }
    log(LogLevel::kWarn, "a cache entry does not fit", {{"why", executor.error().message}});
  }
  GENESIS_TRY(auto executor, pack_into(cache, hash, file, spec, options));
  executor->set_weights_sha256(hash);
  return executor;
}

// A packed model brings its panels; its own hash tells it from others.
Result<std::unique_ptr<CpuExecutor>> from_packed_model(
    const std::shared_ptr<const weights::TensorFile>& packed,
    const weights::TensorFile& model,
    const ModelSpec& spec,
    const LoadOptions& options) {
  if (options.precision == Precision::kFp32) {
    return fail(ErrorCode::kUnsupported,
                "a packed model has no fp32 weights",
                "serve the model it was converted from");
  }
  ThreadPool pool(thread_count(options));
  GENESIS_TRY(const PackedPanels panels, read_panels(packed, pool));
  GENESIS_TRY(auto executor, use_panels(panels, model, spec, options));
  GENESIS_TRY(std::string hash, weights_sha256(packed->files(), records(options)));
  executor->set_weights_sha256(std::move(hash));
  return executor;
}

Result<LoadedModel> load(const std::filesystem::path& named, const LoadOptions& options) {
  GENESIS_TRY(const std::filesystem::path path, weights_file(named));
  GENESIS_TRY(const auto opened, weights::TensorFile::open(path));
  const bool packed = is_packed_model(*opened);
  std::shared_ptr<const weights::TensorFile> file = opened;
  if (packed) {
    GENESIS_TRY(file, as_model(opened));
  }
  GENESIS_TRY(const ModelSpec spec, read_spec(*file, path));
  GENESIS_TRY(const std::int64_t weight_bytes, announce_memory(*file, spec, options));
  LoadedModel loaded;
  GENESIS_TRY(loaded.text,
              spec.naming == TensorNaming::kGguf ? text_assets_from_gguf(*file)
                                                 : text_assets_from_folder(path.parent_path()));
  if (loaded.text.tokenizer->vocab_size() > spec.vocab) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the tokenizer has {} tokens, the embedding table {} rows",
                            loaded.text.tokenizer->vocab_size(),
                            spec.vocab));
  }
  const bool cached = !options.cache_folder.empty() && weight_bytes >= options.cache_from_bytes &&
                      options.precision == Precision::kQuantized;
  GENESIS_TRY(loaded.runner,
              packed   ? from_packed_model(opened, *file, spec, options)
              : cached ? through_cache(*file, spec, options)
                       : pack(*file, spec, options));
  return loaded;
}

}  // namespace

Result<LoadedModel> load_model(const std::filesystem::path& path, const LoadOptions& options) {
  try {
    return load(path, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("not enough memory to load {}", path.string()),
                "free memory, lower kv_bytes or choose a smaller model");
  } catch (const std::system_error& error) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("cannot start the engine's threads: {}", error.what()),
                "lower the number of threads");
  }
}

}  // namespace genesis::model
