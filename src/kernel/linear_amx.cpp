// Linear layers, AMX tier: int8 tiles (Intel SDM volume 1, chapter 18). Same restriction on
// includes as linear_avx2.cpp.
#include "kernel/linear_amx_blocks.h"

namespace genesis::kernel {
namespace {

// The tiles of this thread, for as long as it lives.
struct HardwareTiles {
  HardwareTiles() {
    const TileShapes shapes = tile_shapes();
    _tile_loadconfig(&shapes);
  }

  ~HardwareTiles() { _tile_release(); }

  // sums[16][16] = inputs[16][32] (rows `stride` bytes apart) times weights.
  template <bool kUnsignedWeights>
  static void multiply(const std::int8_t* inputs,
                       std::size_t stride,
                       const std::uint8_t* weights,
                       std::int32_t* sums) {
    _tile_zero(kSums);
    _tile_loadd(kInputs, inputs, stride);
    _tile_loadd(kWeights, weights, kQuadBytes);
    if constexpr (kUnsignedWeights) {
      _tile_dpbsud(kSums, kInputs, kWeights);
    } else {
      _tile_dpbssd(kSums, kInputs, kWeights);
    }
    _tile_stored(kSums, sums, kPanelOutputs * sizeof(std::int32_t));
  }
};

}  // namespace

void fill_linear_amx(Kernels& table) {
  table.linear = linear_on_tiles<HardwareTiles>;
}

}  // namespace genesis::kernel
