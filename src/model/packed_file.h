// Panels on disk: what packing makes, kept in a file that later starts map instead of packing
// again.
//
// The file is a GGUF, so that the checked reader of GGUF reads it. Its tensor `genesis.panels` is
// the memory region that load_weights() fills, `genesis.panel_sums` a checksum of each MiB of it;
// keys `genesis.packed.*` say for which layout and matrices. Two kinds of file:
//   cache entry   nothing else; belongs to a weights file by that file's hash (packed_cache.h)
//   packed model  also metadata and vectors of the model, and the shapes of its matrices: a model
//   of
//                 its own, made by `genesis convert --to packed-4`
// Processes that map one file share its pages. A file is never trusted: layout version, order and
// formats of the matrices, size and every checksum are compared before use.
#pragma once

#include "base/result.h"
#include "kernel/layout.h"
#include "model/memory_region.h"
#include "model/thread_pool.h"
#include "weights/gguf_writer.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace genesis::model {

// Panels that lie in a mapped file. The formats are in the order in which load_weights() asks.
struct PackedPanels {
  std::shared_ptr<const weights::TensorFile> file;
  std::span<const std::uint8_t> bytes;
  std::vector<kernel::Format> formats;
};

// Reads the panels of an opened packed file. kDataLoss: of another layout, or damaged.
Result<PackedPanels> read_panels(std::shared_ptr<const weights::TensorFile> file, ThreadPool& pool);

bool is_packed_model(const weights::TensorFile& file);
// The packed model as load_weights() expects a model: with its matrices, which have no data.
Result<std::shared_ptr<const weights::TensorFile>> as_model(
    std::shared_ptr<const weights::TensorFile> file);

// A packed file being written: first its region is filled, then finish() gives it its name.
// Without finish() nothing stays.
class PackedFileWriter {
 public:
  // `model`: the file whose metadata and vectors make it a packed model; null for a cache entry.
  struct Contents {
    const weights::TensorFile* model = nullptr;
    weights::GgufMetadata metadata;  // of the packed model, or what identifies the cache entry
  };

  // kResourceExhausted when the disk has no room.
  static Result<PackedFileWriter> create(std::filesystem::path path,
                                         Contents contents,
                                         std::span<const kernel::Format> formats,
                                         std::size_t panel_bytes);

  PackedFileWriter(PackedFileWriter&& other) noexcept = default;
  PackedFileWriter& operator=(PackedFileWriter&& other) noexcept = default;
  PackedFileWriter(const PackedFileWriter&) = delete;
  PackedFileWriter& operator=(const PackedFileWriter&) = delete;
  ~PackedFileWriter();

  // The region of the panels, zero-filled, in memory that is the file.
  Result<MemoryRegion> map() const;
  // Writes the checksums and moves the file into its place. `durable` waits until it is on the
  // disk; a cache entry need not: a torn one is found by its checksums.
  Result<void> finish(std::span<const std::uint8_t> panels, ThreadPool& pool, bool durable);

 private:
  PackedFileWriter(std::filesystem::path path, std::filesystem::path temporary);

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty once it is in its place
  std::optional<weights::GgufWriter> writer_;
  std::size_t panel_bytes_ = 0;
};

}  // namespace genesis::model
