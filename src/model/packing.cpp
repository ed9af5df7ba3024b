// Packs GGUF blocks and plain tensors into panels.
#include "model/packing.h"

#include "base/check.h"
#include "kernel/half.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace genesis::model {
namespace {

using kernel::Format;
using kernel::kGroup;
using kernel::kPanelOutputs;
using kernel::Panels;
using weights::TensorType;
using weights::TensorView;

std::size_t round_up(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::size_t groups_of(const Panels& p) {
  return static_cast<std::size_t>(p.panels()) * static_cast<std::size_t>(p.groups());
}

std::size_t code_bytes(const Panels& p) {
  const std::size_t group = p.format == Format::kQ4   ? kernel::kQ4GroupBytes
                            : p.format == Format::kQ8 ? kernel::kQ8GroupBytes
                                                      : kGroup * kPanelOutputs * sizeof(float);
  return round_up(groups_of(p) * group);
}

std::size_t scale_bytes(const Panels& p) {
  return p.format == Format::kF32 ? 0 : round_up(groups_of(p) * kPanelOutputs * 2);
}

std::unexpected<Error> not_finite(const TensorView& tensor) {
  return fail_param(tensor.name,
                    fmt::format("tensor {} holds a value that is not finite", tensor.name),
                    ErrorCode::kDataLoss);
}

template <typename T>
T load(const std::uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Owns no memory: the mutable side of the panel being packed.
struct PanelWriter {
  std::uint8_t* codes;
  std::uint16_t* scales;
  std::uint16_t* mins;
  float* values;

  PanelWriter(const Panels& p, int panel) {
    // The region is ours and writable; Panels is the read-only view that kernels get.
    const std::size_t first =
        static_cast<std::size_t>(panel) * static_cast<std::size_t>(p.groups());
    const std::size_t bytes =
        p.format == Format::kQ4 ? kernel::kQ4GroupBytes : kernel::kQ8GroupBytes;
    // A format uses some of the streams; the others stay null.
    codes = p.codes ? const_cast<std::uint8_t*>(p.codes) + first * bytes : nullptr;
    scales = p.scales ? const_cast<std::uint16_t*>(p.scales) + first * kPanelOutputs : nullptr;
    mins = p.mins ? const_cast<std::uint16_t*>(p.mins) + first * kPanelOutputs : nullptr;
    values = p.values ? const_cast<float*>(p.values) + first * kGroup * kPanelOutputs : nullptr;
  }
};

// GGUF's 4-bit blocks: [scale f16][min f16, Q4_1 only][16 bytes: values 0..15 in the low nibbles,
// 16..31 in the high ones] (ggml-common.h, block_q4_0 and block_q4_1).
bool pack_q4_row(const TensorView& tensor,
                 const std::uint8_t* row,
                 int groups,
                 std::size_t c,
                 PanelWriter& out) {
  const bool with_min = tensor.type == TensorType::kQ4_1;
  const std::size_t block_bytes = with_min ? 20 : 18;
  for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g) {
    const std::uint8_t* block = row + g * block_bytes;
    const auto scale = load<std::uint16_t>(block);
    const float value = kernel::half_to_float(scale);
    const std::uint16_t min =
        with_min ? load<std::uint16_t>(block + 2) : kernel::float_to_half(-8.0F * value);
    if (!std::isfinite(value) || !std::isfinite(kernel::half_to_float(min))) {
      return false;
    }
    out.scales[g * kPanelOutputs + c] = scale;
    out.mins[g * kPanelOutputs + c] = min;
    const std::uint8_t* nibbles = block + block_bytes - 16;
    std::uint8_t* codes = out.codes + g * kernel::kQ4GroupBytes + 4 * c;
    for (std::size_t j = 0; j < 2; ++j) {
      const auto first = load<std::uint32_t>(nibbles + 8 * j);
      const auto second = load<std::uint32_t>(nibbles + 8 * j + 4);
      const std::uint32_t low = (first & 0x0F0F0F0FU) | ((second & 0x0F0F0F0FU) << 4);
      const std::uint32_t high = ((first >> 4) & 0x0F0F0F0FU) | (second & 0xF0F0F0F0U);
      std::memcpy(codes + 64 * j, &low, 4);
      std::memcpy(codes + 64 * (j + 2), &high, 4);
    }
  }
  return true;
}

// Blocks of [scale f16][32 signed bytes] (block_q8_0).
bool pack_q8_row(const std::uint8_t* row, int groups, std::size_t c, PanelWriter& out) {
  for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g) {
    const std::uint8_t* block = row + g * 34;
    const auto scale = load<std::uint16_t>(block);
    if (!std::isfinite(kernel::half_to_float(scale))) {
      return false;
    }
    out.scales[g * kPanelOutputs + c] = scale;
    for (std::size_t quad = 0; quad < 8; ++quad) {
      std::memcpy(
          out.codes + g * kernel::kQ8GroupBytes + 64 * quad + 4 * c, block + 2 + 4 * quad, 4);
    }
  }
  return true;
}

// Rounds floats to int8 groups. False when a value is not finite or too large for a half scale.
bool quantize_row(std::span<const float> row, std::size_t c, PanelWriter& out) {
  for (std::size_t g = 0; g < row.size() / kGroup; ++g) {
    const std::span<const float> group = row.subspan(g * kGroup, kGroup);
    float largest = 0.0F;
    for (const float v : group) {
      if (!std::isfinite(v)) {
        return false;
      }
      largest = std::max(largest, std::abs(v));
    }
    const std::uint16_t scale = kernel::float_to_half(largest / 127.0F);
    const float step = kernel::half_to_float(scale);
    if (!std::isfinite(step)) {
      return false;
    }
    out.scales[g * kPanelOutputs + c] = scale;
    // Adding and taking away 1.5 2^23 rounds to the nearest integer, ties to even, as nearbyint()
    // does, but as two instructions of a vector instead of a call for each value.
    constexpr float kMagic = 12582912.0F;
    std::array<std::int8_t, kGroup> codes{};
    for (std::size_t k = 0; step > 0.0F && k < kGroup; ++k) {
      const float code = (group[k] / step + kMagic) - kMagic;
      codes[k] = static_cast<std::int8_t>(std::clamp(code, -127.0F, 127.0F));
    }
    for (std::size_t k = 0; k < kGroup; k += 4) {
      std::memcpy(out.codes + g * kernel::kQ8GroupBytes +
                      kernel::q8_byte(static_cast<int>(c), static_cast<int>(k)),
                  codes.data() + k,
                  4);
    }
  }
  return true;
}

bool store_float_row(std::span<const float> row, std::size_t c, PanelWriter& out) {
  for (std::size_t k = 0; k < row.size(); ++k) {
    if (!std::isfinite(row[k])) {
      return false;
    }
    out.values[k * kPanelOutputs + c] = row[k];
  }
  return true;
}

bool q4_0_min_fits(const TensorView& tensor) {
  for (std::size_t at = 0; at + 18 <= tensor.data.size(); at += 18) {
    if (std::abs(kernel::half_to_float(load<std::uint16_t>(tensor.data.data() + at))) > 8188.0F) {
      return false;
    }
  }
  return true;
}

}  // namespace

Panels PackJob::shape() const {
  Panels panels;
  panels.format = format;
  panels.outputs = outputs();
  panels.inputs = inputs();
  return panels;
}

Format packed_format(const TensorView& tensor, bool fp32) {
  if (fp32) {
    return Format::kF32;
  }
  if (tensor.type == TensorType::kQ4_1 ||
      (tensor.type == TensorType::kQ4_0 && q4_0_min_fits(tensor))) {
    return Format::kQ4;
  }
  return Format::kQ8;
}

std::size_t packed_bytes(const Panels& shape) {
  return code_bytes(shape) + scale_bytes(shape) * (shape.format == Format::kQ4 ? 2 : 1);
}

Panels place(const Panels& shape, std::uint8_t* memory) {
  Panels placed = shape;
  if (shape.format == Format::kF32) {
    placed.values = reinterpret_cast<const float*>(memory);
    return placed;
  }
  placed.codes = memory;
  placed.scales = reinterpret_cast<const std::uint16_t*>(memory + code_bytes(shape));
  if (shape.format == Format::kQ4) {
    placed.mins =
        reinterpret_cast<const std::uint16_t*>(memory + code_bytes(shape) + scale_bytes(shape));
  }
  return placed;
}

Result<void> pack_panel(const PackJob& job, const Panels& placed, int panel) {
  const TensorView& tensor = *job.tensor;
  PanelWriter out(placed, panel);
  const weights::BlockLayout block = weights::block_layout(tensor.type);
  const auto inputs = static_cast<std::size_t>(placed.inputs);
  const std::size_t row_bytes = inputs / block.elements * block.bytes;
  std::vector<float> expanded;
  for (int c = 0; c < kPanelOutputs; ++c) {
    const int n = panel * kPanelOutputs + c;
    if (n >= placed.outputs) {
      break;  // the region is zero-filled
    }
    const int source = job.row_order.empty() ? n : job.row_order[static_cast<std::size_t>(n)];
    const auto row = tensor.data.subspan(static_cast<std::size_t>(source) * row_bytes, row_bytes);
    const auto column = static_cast<std::size_t>(c);
    bool finite = true;
    if (placed.format == Format::kQ4) {
      finite = pack_q4_row(tensor, row.data(), placed.groups(), column, out);
    } else if (placed.format == Format::kQ8 && tensor.type == TensorType::kQ8_0) {
      finite = pack_q8_row(row.data(), placed.groups(), column, out);
    } else {
      expanded.resize(inputs);
      GENESIS_TRY_VOID(weights::dequantize(tensor.type, row, expanded));
      finite = placed.format == Format::kF32 ? store_float_row(expanded, column, out)
                                             : quantize_row(expanded, column, out);
    }
    if (!finite) {
      return not_finite(tensor);
    }
  }
  return {};
}

void unpack_row(const Panels& matrix, int row, float* out) {
  const auto c = static_cast<std::size_t>(row % kPanelOutputs);
  const std::size_t first =
      static_cast<std::size_t>(row / kPanelOutputs) * static_cast<std::size_t>(matrix.groups());
  for (std::size_t k = 0; k < static_cast<std::size_t>(matrix.inputs); ++k) {
    const std::size_t group = first + k / kGroup;
    const std::size_t at = group * kPanelOutputs + c;
    const int inside = static_cast<int>(k % kGroup);
    if (matrix.format == Format::kF32) {
      out[k] = matrix.values[(first * kGroup + k) * kPanelOutputs + c];
    } else if (matrix.format == Format::kQ8) {
      const auto code = static_cast<std::int8_t>(
          matrix
              .codes[group * kernel::kQ8GroupBytes + kernel::q8_byte(static_cast<int>(c), inside)]);
      out[k] = kernel::half_to_float(matrix.scales[at]) * static_cast<float>(code);
    } else {
      const int code = (matrix.codes[group * kernel::kQ4GroupBytes +
                                     kernel::q4_byte(static_cast<int>(c), inside)] >>
                        kernel::q4_shift(inside)) &
                       15;
      out[k] = kernel::half_to_float(matrix.scales[at]) * static_cast<float>(code) +
               kernel::half_to_float(matrix.mins[at]);
    }
  }
}

}  // namespace genesis::model
