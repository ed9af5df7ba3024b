// load_model(): file -> spec, executor, text assets and hash.
#include "model/loader.h"

#include <new>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "base/file.h"
#include "base/sha256.h"
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/text_assets.h"
#include "weights/tensor_file.h"

namespace genesis::model {
namespace {

Result<LoadedModel> load_gguf(const weights::TensorFile& file, const LoadOptions& options,
                              std::unique_ptr<CpuExecutor>& executor) {
  GENESIS_TRY(const ModelSpec spec, spec_from_gguf(file));
  LoadedModel loaded;
  GENESIS_TRY(loaded.text, text_assets_from_gguf(file));
  if (loaded.text.tokenizer->vocab_size() > spec.vocab) {
    return fail_param("tokenizer.ggml.tokens",
                      fmt::format("the tokenizer has {} tokens, the embedding table {} rows",
                                  loaded.text.tokenizer->vocab_size(), spec.vocab),
                      ErrorCode::kDataLoss);
  }
  GENESIS_TRY(executor, CpuExecutor::create(file, spec, options));
  return loaded;
}

Result<LoadedModel> load(const std::filesystem::path& path, const LoadOptions& options) {
  GENESIS_TRY(const MappedFile mapping, MappedFile::open(path));
  // Hashing takes as long as packing; it runs beside it.
  std::string hash;
  std::jthread hasher([&] {
    Sha256 sha;
    sha.update(mapping.bytes());
    hash = to_hex(sha.finish());
  });
  GENESIS_TRY(const std::shared_ptr<const weights::TensorFile> file, weights::TensorFile::open(path));
  if (file->format() != "gguf") {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} is a {} file; chat models are loaded from GGUF files", path.string(),
                            file->format()),
                "pull a GGUF version of the model");
  }
  std::unique_ptr<CpuExecutor> executor;
  GENESIS_TRY(LoadedModel loaded, load_gguf(*file, options, executor));
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
  }
}

}  // namespace genesis::model
