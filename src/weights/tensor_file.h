// A weights file opened for reading: GGUF or safetensors behind one view. Files are hostile: every
// count, offset and size is checked against the file before use, and allocation never exceeds the
// bytes left. Immutable after open(); safe from any thread.
#pragma once

#include "base/result.h"
#include "weights/tensor_type.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace genesis::weights {

// A tensor inside a file. `shape` is row-major, outermost first (GGUF's order reversed), so a
// linear layer's weight is [out_features, in_features] in both formats.
struct TensorView {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::uint8_t> data;  // into the mapping of the owning file

  std::int64_t elements() const;
};

// A GGUF metadata value; integers widen to int64/uint64, floats to double; arrays are homogeneous.
using MetadataValue = std::variant<bool,
                                   std::int64_t,
                                   std::uint64_t,
                                   double,
                                   std::string,
                                   std::vector<std::string>,
                                   std::vector<std::int64_t>,
                                   std::vector<double>>;

class TensorFile {
 public:
  // Tells the format by its first bytes. Pickle and zip checkpoints are refused with the conversion
  // command. kDataLoss: truncated or inconsistent, naming what and where. A shard index
  // (`*.safetensors.index.json`) and a part of a split GGUF (`*-00001-of-00003.gguf`) open all
  // their files as one.
  static Result<std::shared_ptr<const TensorFile>> open(const std::filesystem::path& path);
  // The header alone: tensors have no data, and the file may be cut anywhere behind its header.
  static Result<std::shared_ptr<const TensorFile>> open_header(const std::filesystem::path& path);
  // The same over bytes that outlive the object; used by tests and fuzz targets.
  static Result<std::shared_ptr<const TensorFile>> from_bytes(std::span<const std::uint8_t> bytes);

  virtual ~TensorFile() = default;
  virtual std::string_view format() const = 0;  // "gguf" or "safetensors"
  virtual const std::vector<TensorView>& tensors() const = 0;
  virtual const TensorView* find(std::string_view name) const = 0;
  // GGUF metadata, or safetensors' __metadata__ as strings.
  virtual const std::map<std::string, MetadataValue, std::less<>>& metadata() const = 0;
  // How large the file, or all its parts together, must be by the header.
  virtual std::uint64_t described_bytes() const = 0;
  // The files it was opened from, in a fixed order; none when made from bytes.
  virtual const std::vector<std::filesystem::path>& files() const = 0;
  // A hint that these bytes, part of a tensor's data, are not needed for now: whole pages of a
  // mapped file stop counting as memory of this process and are read again when touched.
  virtual void release(std::span<const std::uint8_t> bytes) const = 0;
};

// Typed metadata reads; nullopt when absent or of another kind.
std::optional<std::int64_t> metadata_integer(const TensorFile& file, std::string_view key);
std::optional<double> metadata_number(const TensorFile& file, std::string_view key);
std::optional<bool> metadata_bool(const TensorFile& file, std::string_view key);
std::optional<std::string> metadata_string(const TensorFile& file, std::string_view key);

}  // namespace genesis::weights
