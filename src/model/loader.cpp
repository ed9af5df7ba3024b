// load_model(): file or folder -> spec, executor, text assets and hash.
#include "model/loader.h"

#include "base/file.h"
#include "base/sha256.h"
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/hf_spec.h"
#include "model/text_assets.h"
#include "weights/tensor_file.h"

#include <fmt/format.h>

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
  if (std::filesystem::exists(path / "model.safetensors.index.json", error)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} holds weights in several safetensors files", path.string()),
                "pull a GGUF version of the model");
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

Result<LoadedModel> load(const std::filesystem::path& named, const LoadOptions& options) {
  GENESIS_TRY(const std::filesystem::path path, weights_file(named));
  GENESIS_TRY(const MappedFile mapping, MappedFile::open(path));
  // Hashing takes as long as packing; it runs beside it.
  std::string hash;
  std::jthread hasher([&] {
    Sha256 sha;
    sha.update(mapping.bytes());
    hash = to_hex(sha.finish());
  });
  GENESIS_TRY(const auto file, weights::TensorFile::open(path));
  GENESIS_TRY(const ModelSpec spec, read_spec(*file, path));
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
  GENESIS_TRY(auto executor, CpuExecutor::create(*file, spec, options));
  hasher.join();
  executor->set_weights_sha256(std::move(hash));
  loaded.runner = std::move(executor);
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
