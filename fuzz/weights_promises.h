// What an accepted weights file must keep, whatever its bytes: shared by the weights fuzz targets.
#pragma once

#include "base/check.h"
#include "weights/tensor_file.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace genesis::weights {

// Opens `bytes`; tensors of a file that is accepted lie inside the input, are found by name and
// expand.
inline void check_promises(std::span<const std::uint8_t> bytes) {
  const auto file = TensorFile::from_bytes(bytes);
  if (!file) {
    GENESIS_CHECK(!file.error().message.empty());
    return;
  }
  for (const TensorView& tensor : (*file)->tensors()) {
    GENESIS_CHECK((*file)->find(tensor.name) == &tensor);
    const BlockLayout layout = block_layout(tensor.type);
    const auto elements = static_cast<std::size_t>(tensor.elements());
    GENESIS_CHECK(tensor.data.size() / layout.bytes * layout.elements == elements);
    GENESIS_CHECK(tensor.data.empty() || tensor.type == TensorType::kNF4 ||  // joined elsewhere
                  (tensor.data.data() >= bytes.data() &&
                   tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size()));
    std::vector<float> floats(elements);
    const auto expanded = dequantize(tensor.type, tensor.data, floats);
    GENESIS_CHECK(expanded || expanded.error().code == ErrorCode::kUnsupported);
  }
  for (const auto& [key, value] : (*file)->metadata()) {
    const bool integer = metadata_integer(**file, key).has_value();
    GENESIS_CHECK(!integer || metadata_number(**file, key).has_value());
    GENESIS_CHECK(!(integer && metadata_string(**file, key).has_value()));
  }
}

}  // namespace genesis::weights
