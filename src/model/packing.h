// Stored tensors -> the packed panels that kernels read (kernel/layout.h).
//
// What happens to a value in quantized mode:
//   Q4_0, Q4_1, Q8_0   nothing: same codes, same scales (Q4_0's min is -8 times its scale, exact in
//                      binary16 unless it overflows; then the tensor is treated as below).
//   all other types    expanded and rounded to int8 groups of 32, scale = max / 127 in binary16: an
//                      error of at most half a step, 0.4 % of the group's largest magnitude.
//                      Against F16 weights that is Q8_0's loss; 4- to 6-bit types keep their shape
//                      well within their own step but take 8.5 bits.
// In fp32 mode every type is expanded exactly.
#pragma once

#include "base/result.h"
#include "kernel/layout.h"
#include "weights/tensor_file.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace genesis::model {

// One matrix to pack: where it comes from and where it goes. The tensor's file outlives the job.
struct PackJob {
  const weights::TensorView* tensor = nullptr;
  // Row n of the packed matrix is row row_order[n] of the tensor; empty = as stored.
  std::vector<std::int32_t> row_order;
  kernel::Format format = kernel::Format::kF32;

  int outputs() const { return static_cast<int>(tensor->shape[0]); }

  int inputs() const { return static_cast<int>(tensor->shape[1]); }

  kernel::Panels shape() const;
};

// The format a tensor is packed to. The tensor has two dimensions, the inner a multiple of 32.
kernel::Format packed_format(const weights::TensorView& tensor, bool fp32);

// Bytes of a packed matrix, a multiple of 64.
std::size_t packed_bytes(const kernel::Panels& shape);

// The panels of a matrix that lies (or will lie) at `memory`, aligned to 64 bytes.
kernel::Panels place(const kernel::Panels& shape, std::uint8_t* memory);

// Packs one panel of 16 rows into its place. Panels are independent, so threads may share a job.
// kDataLoss when a scale or value is not finite.
Result<void> pack_panel(const PackJob& job, const kernel::Panels& placed, int panel);

// Reads back one row (an embedding) as floats; `out` has room for `inputs` floats.
void unpack_row(const kernel::Panels& matrix, int row, float* out);

}  // namespace genesis::model
