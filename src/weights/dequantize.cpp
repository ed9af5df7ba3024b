// Exact expansion of stored blocks to float: the meaning of each format, in portable code. Formulas
// and layouts are those of ggml (ggml-common.h for the blocks, ggml-quants.c dequantize_row_*).
#include "weights/file_contents.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "stored numbers are read in place");

// Results must be the same on every build: no fused multiply-add.
#pragma clang fp contract(off)

namespace genesis::weights {

namespace {

constexpr std::size_t kSuperBlock = 256;  // QK_K
constexpr std::size_t kScaleBytes = 12;   // K_SCALE_SIZE: eight 6-bit scales and eight 6-bit minima

using Bytes = const std::uint8_t*;

template <typename T>
T load(Bytes at) {
  T value{};
  std::memcpy(&value, at, sizeof(T));
  return value;
}

float load_half(Bytes at) {
  return half_to_float(load<std::uint16_t>(at));
}

float to_float(int value) {
  return static_cast<float>(value);
}

// half d; 16 bytes: low nibbles are elements 0-15, high nibbles 16-31. x = d (q - 8)
void expand_q4_0(Bytes block, float* out) {
  const float d = load_half(block);
  for (std::size_t i = 0; i < 16; ++i) {
    const int q = block[2 + i];
    out[i] = d * to_float((q & 0xF) - 8);
    out[i + 16] = d * to_float((q >> 4) - 8);
  }
}

// half d, half m; nibbles as Q4_0. x = d q + m
void expand_q4_1(Bytes block, float* out) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  for (std::size_t i = 0; i < 16; ++i) {
    const int q = block[4 + i];
    out[i] = d * to_float(q & 0xF) + m;
    out[i + 16] = d * to_float(q >> 4) + m;
  }
}

// The fifth bit of element i (0-31), moved to bit 4.
int fifth_bit(std::uint32_t high, std::size_t i) {
  return static_cast<int>((high >> i) & 1U) << 4;
}

// half d, 32 fifth bits, nibbles. x = d (q - 16)
void expand_q5_0(Bytes block, float* out) {
  const float d = load_half(block);
  const auto high = load<std::uint32_t>(block + 2);
  for (std::size_t i = 0; i < 16; ++i) {
    const int q = block[6 + i];
    out[i] = d * to_float(((q & 0xF) | fifth_bit(high, i)) - 16);
    out[i + 16] = d * to_float(((q >> 4) | fifth_bit(high, i + 16)) - 16);
  }
}

// half d, half m, 32 fifth bits, nibbles. x = d q + m
void expand_q5_1(Bytes block, float* out) {
  const float d = load_half(block);
  const float m = load_half(block + 2);
  const auto high = load<std::uint32_t>(block + 4);
  for (std::size_t i = 0; i < 16; ++i) {
    const int q = block[8 + i];
    out[i] = d * to_float((q & 0xF) | fifth_bit(high, i)) + m;
    out[i + 16] = d * to_float((q >> 4) | fifth_bit(high, i + 16)) + m;
  }
}

// half d, 32 signed bytes. x = d q
void expand_q8_0(Bytes block, float* out) {
  const float d = load_half(block);
  for (std::size_t i = 0; i < 32; ++i) {
    out[i] = d * to_float(static_cast<std::int8_t>(block[2 + i]));
  }
}

struct ScaleMin {
  float scale = 0;
  float minimum = 0;
};

// Group j of eight in the 12 packed bytes: the first four have their six bits whole in bytes 0-3
// and 4-7, the last four have low nibbles in bytes 8-11 and their top two bits above the first
// four's.
ScaleMin unpack_scale(Bytes scales, std::size_t j) {
  if (j < 4) {
    return {.scale = to_float(scales[j] & 63), .minimum = to_float(scales[j + 4] & 63)};
  }
  return {.scale = to_float((scales[j + 4] & 0xF) | ((scales[j - 4] >> 6) << 4)),
          .minimum = to_float((scales[j + 4] >> 4) | ((scales[j] >> 6) << 4))};
}

// half d, half dmin, packed scales, 128 bytes: each run of 32 bytes holds group 2k in its low and
// group 2k+1 in its high nibbles. x = d scale q - dmin minimum
void expand_q4_k(Bytes block, float* out) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  const Bytes scales = block + 4;
  const Bytes quants = scales + kScaleBytes;
  for (std::size_t group = 0; group < 8; ++group) {
    const ScaleMin packed = unpack_scale(scales, group);
    const float scale = d * packed.scale;
    const float minimum = dmin * packed.minimum;
    const Bytes run = quants + (group / 2) * 32;
    for (std::size_t i = 0; i < 32; ++i) {
      const int q = group % 2 == 0 ? run[i] & 0xF : run[i] >> 4;
      out[group * 32 + i] = scale * to_float(q) - minimum;
    }
  }
}

// As Q4_K with 32 bytes of fifth bits before the nibbles: bit `group` of byte i.
void expand_q5_k(Bytes block, float* out) {
  const float d = load_half(block);
  const float dmin = load_half(block + 2);
  const Bytes scales = block + 4;
  const Bytes high = scales + kScaleBytes;
  const Bytes quants = high + kSuperBlock / 8;
  for (std::size_t group = 0; group < 8; ++group) {
    const ScaleMin packed = unpack_scale(scales, group);
    const float scale = d * packed.scale;
    const float minimum = dmin * packed.minimum;
    const Bytes run = quants + (group / 2) * 32;
    for (std::size_t i = 0; i < 32; ++i) {
      const int low = group % 2 == 0 ? run[i] & 0xF : run[i] >> 4;
      const int q = low | (((high[i] >> group) & 1) << 4);
      out[group * 32 + i] = scale * to_float(q) - minimum;
    }
  }
}

// 128 bytes of low nibbles, 64 bytes of top bit pairs, 16 signed scales, half d. Each half of the
// block (128 elements) takes 64 + 32 bytes; element e of a half, in runs of 32: nibble from byte
// (e mod 64), low before high, bit pair e / 32 of byte (e mod 32). x = d scale (q - 32)
void expand_q6_k(Bytes block, float* out) {
  const Bytes low = block;
  const Bytes high = low + kSuperBlock / 2;
  const Bytes scales = high + kSuperBlock / 4;
  const float d = load_half(scales + kSuperBlock / 16);
  for (std::size_t i = 0; i < kSuperBlock; ++i) {
    const std::size_t half = i / 128;
    const std::size_t e = i % 128;
    const int nibbles = low[half * 64 + e % 64];
    const int four = e < 64 ? nibbles & 0xF : nibbles >> 4;
    const int two = (high[half * 32 + e % 32] >> (2 * (e / 32))) & 3;
    const float scale = d * to_float(static_cast<std::int8_t>(scales[i / 16]));
    out[i] = scale * to_float((four | (two << 4)) - 32);
  }
}

// The sixteen values of NormalFloat 4 (arXiv 2305.14314, appendix E), as bitsandbytes rounds them.
constexpr std::array<float, 16> kNf4{-1.0F,
                                     -0.6961928009986877F,
                                     -0.5250730514526367F,
                                     -0.39491748809814453F,
                                     -0.28444138169288635F,
                                     -0.18477343022823334F,
                                     -0.09105003625154495F,
                                     0.0F,
                                     0.07958029955625534F,
                                     0.16093020141124725F,
                                     0.24611230194568634F,
                                     0.33791524171829224F,
                                     0.44070982933044434F,
                                     0.5626170039176941F,
                                     0.7229568362236023F,
                                     1.0F};

// float scale; 32 bytes, the first of two values in the high nibble. x = scale kNf4[q]
void expand_nf4(Bytes block, float* out) {
  const auto scale = load<float>(block);
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t q = block[4 + i];
    out[2 * i] = kNf4[q >> 4] * scale;
    out[2 * i + 1] = kNf4[q & 15] * scale;
  }
}

bool is_plain(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

// Types of one value a block, without a call for each.
void expand_plain(TensorType type, Bytes data, std::span<float> out) {
  for (std::size_t i = 0; type == TensorType::kF32 && i < out.size(); ++i) {
    out[i] = load<float>(data + 4 * i);
  }
  for (std::size_t i = 0; type == TensorType::kF16 && i < out.size(); ++i) {
    out[i] = load_half(data + 2 * i);
  }
  for (std::size_t i = 0; type == TensorType::kBF16 && i < out.size(); ++i) {
    out[i] =
        std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(data + 2 * i)) << 16);
  }
}

using Expand = void (*)(Bytes, float*);

// Null for types that are no blocks of several values.
Expand expander(TensorType type) {
  switch (type) {
    case TensorType::kQ4_0:
      return expand_q4_0;
    case TensorType::kQ4_1:
      return expand_q4_1;
    case TensorType::kQ5_0:
      return expand_q5_0;
    case TensorType::kQ5_1:
      return expand_q5_1;
    case TensorType::kQ8_0:
      return expand_q8_0;
    case TensorType::kQ4_K:
      return expand_q4_k;
    case TensorType::kQ5_K:
      return expand_q5_k;
    case TensorType::kQ6_K:
      return expand_q6_k;
    case TensorType::kNF4:
      return expand_nf4;
    default:
      return nullptr;
  }
}

}  // namespace

std::span<const float> nf4_values() {
  return kNf4;
}

Result<void> dequantize(TensorType type, std::span<const std::uint8_t> data, std::span<float> out) {
  const Expand expand = expander(type);
  if (expand == nullptr && !is_plain(type)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensors of type {} are not weights", tensor_type_name(type)));
  }
  const BlockLayout layout = block_layout(type);
  const std::size_t blocks = out.size() / layout.elements;
  if (out.size() % layout.elements != 0 || data.size() % layout.bytes != 0 ||
      data.size() / layout.bytes != blocks) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} bytes of {} do not expand to {} elements",
                            data.size(),
                            tensor_type_name(type),
                            out.size()));
  }
  if (is_plain(type)) {
    expand_plain(type, data.data(), out);
    return {};
  }
  for (std::size_t i = 0; i < blocks; ++i) {
    expand(data.data() + i * layout.bytes, out.data() + i * layout.elements);
  }
  return {};
}

}  // namespace genesis::weights
