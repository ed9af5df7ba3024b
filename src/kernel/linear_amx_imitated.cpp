// The blocks of the AMX tier on tiles that are only imitated, step by step as the SDM describes
// TDPBSSD and TDPBSUD: their arithmetic is tested on every machine with AVX-512.
#include "kernel/linear_amx_imitated.h"

#include "kernel/linear_amx_blocks.h"

namespace genesis::kernel {
namespace {

struct ImitatedTiles {
  template <bool kUnsignedWeights>
  static void multiply(const std::int8_t* inputs,
                       std::size_t stride,
                       const std::uint8_t* weights,
                       std::int32_t* sums) {
    const TileShapes shapes = tile_shapes();
    const std::size_t columns = shapes.row_bytes[kSums] / 4U;
    for (std::size_t m = 0; m < shapes.rows[kSums]; ++m) {
      for (std::size_t n = 0; n < columns; ++n) {
        std::int32_t sum = 0;
        for (std::size_t k = 0; k < shapes.row_bytes[kInputs] / 4U; ++k) {
          for (std::size_t i = 0; i < 4; ++i) {
            const std::uint8_t byte = weights[k * kQuadBytes + 4 * n + i];
            const int weight = kUnsignedWeights ? byte : static_cast<std::int8_t>(byte);
            sum += inputs[m * stride + 4 * k + i] * weight;
          }
        }
        sums[m * columns + n] = sum;
      }
    }
  }
};

}  // namespace

void linear_amx_imitated(const LinearCall& call) {
  linear_on_tiles<ImitatedTiles>(call);
}

}  // namespace genesis::kernel
