// The packed weight layout that every tier reads.
//
// A linear layer y = W x has W of shape [outputs, inputs]. Outputs are cut into panels of 16; a
// panel walks the inputs in groups of 32, each group in quads of four neighbouring inputs (the
// order that AVX-512-VNNI and AMX want, and that AVX2's maddubs can use). A quad of a panel is 64
// values: value [output c of 16][input i of 4] at 4c + i.
//   kQ4   w = scale * code + min, code 0..15. Two quads share 64 bytes: the first in the low
//   nibbles,
//         the second in the high ones. 256 bytes a group. Covers GGUF Q4_1, and Q4_0 (min = -8
//         scale).
//   kQ8   w = scale * code, code -128..127. 512 bytes a group.
//   kF32  w itself, [inputs][16] floats: the parity mode.
// Scales and mins are separate streams of binary16, [panel][group][16]. Padding outputs of the last
// panel are zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace genesis::kernel {

inline constexpr int kPanelOutputs = 16;
inline constexpr int kGroup = 32;  // inputs that share a weight scale, and an activation scale
inline constexpr std::size_t kQ4GroupBytes = 256;
inline constexpr std::size_t kQ8GroupBytes = 512;

enum class Format : std::uint8_t { kQ4, kQ8, kF32 };

// A packed matrix, not owned.
struct Panels {
  Format format = Format::kF32;
  int outputs = 0;
  int inputs = 0;                         // a multiple of kGroup
  const std::uint8_t* codes = nullptr;    // kQ4, kQ8
  const std::uint16_t* scales = nullptr;  // kQ4, kQ8
  const std::uint16_t* mins = nullptr;    // kQ4
  const float* values = nullptr;          // kF32

  int panels() const { return (outputs + kPanelOutputs - 1) / kPanelOutputs; }

  int groups() const { return inputs / kGroup; }
};

// Where a value lies inside its group of a panel: output c < 16, input k < 32.
constexpr std::size_t q4_byte(int c, int k) {
  return static_cast<std::size_t>(k / 8 * 64 + c * 4 + k % 4);
}

constexpr int q4_shift(int k) {
  return k % 8 / 4 * 4;
}

constexpr std::size_t q8_byte(int c, int k) {
  return static_cast<std::size_t>(k / 4 * 64 + c * 4 + k % 4);
}

}  // namespace genesis::kernel
