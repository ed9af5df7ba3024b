// Page storage for keys and values.
#include "model/kv_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace genesis::model {
namespace {

constexpr std::int32_t kMaxHeadDim = 1024;  // as check_spec() bounds it

std::size_t code_size(KvFormat format) {
  switch (format) {
    case KvFormat::kInt8:
      return 1;
    case KvFormat::kHalf:
      return 2;
    case KvFormat::kFloat:
      return 4;
  }
  return 4;
}

// Keys or values of one layer and head in a page.
std::size_t code_bytes(std::int32_t head_dim, KvFormat format) {
  return static_cast<std::size_t>(kPageTokens * head_dim) * code_size(format);
}

// Both, and their scales.
std::size_t block_bytes(std::int32_t head_dim, KvFormat format) {
  const std::size_t scales = format == KvFormat::kInt8 ? 2 * kPageTokens * sizeof(float) : 0;
  return 2 * code_bytes(head_dim, format) + scales;
}

}  // namespace

std::string_view kv_format_name(KvFormat format) {
  switch (format) {
    case KvFormat::kInt8:
      return "int8";
    case KvFormat::kHalf:
      return "fp16";
    case KvFormat::kFloat:
      return "fp32";
  }
  return "fp32";
}

std::int64_t kv_page_bytes(const ModelSpec& spec, KvFormat format) {
  return std::int64_t{spec.layers} * spec.kv_heads *
         static_cast<std::int64_t>(block_bytes(spec.head_dim, format));
}

std::int32_t spread_block(std::int32_t head_dim) {
  return head_dim & -head_dim;
}

Result<KvPool> KvPool::create(const ModelSpec& spec, KvFormat format, std::int64_t bytes) {
  KvPool pool;
  pool.layers_ = spec.layers;
  pool.kv_heads_ = spec.kv_heads;
  pool.head_dim_ = spec.head_dim;
  pool.format_ = format;
  pool.code_bytes_ = code_bytes(spec.head_dim, format);
  pool.block_bytes_ = block_bytes(spec.head_dim, format);
  pool.page_bytes_ = kv_page_bytes(spec, format);
  const std::int64_t pages = std::min<std::int64_t>(bytes / pool.page_bytes_, 1 << 24);
  if (pages < 1) {
    return fail_param(
        "kv_bytes",
        fmt::format("kv_bytes is {}, but one page of {} tokens of model '{}' takes {} bytes",
                    bytes,
                    kPageTokens,
                    spec.name,
                    pool.page_bytes_),
        ErrorCode::kResourceExhausted);
  }
  pool.pages_ = static_cast<std::int32_t>(pages);
  GENESIS_TRY(
      pool.memory_,
      MemoryRegion::allocate(static_cast<std::size_t>(pages * pool.page_bytes_), "the KV pages"));
  return pool;
}

void KvPool::write_key(std::int32_t page,
                       std::int32_t layer,
                       std::int32_t head,
                       std::int32_t slot,
                       const float* key,
                       const kernel::Kernels& kernels) {
  const auto dims = static_cast<std::size_t>(head_dim_);
  std::uint8_t* to = block(page, layer, head);
  if (format_ == KvFormat::kInt8) {
    write_int8_key(to, slot, key, kernels.attention);
    return;
  }
  if (format_ == KvFormat::kFloat) {
    for (std::size_t d = 0; d < dims; ++d) {
      std::memcpy(to + (d * kPageTokens + static_cast<std::size_t>(slot)) * 4, key + d, 4);
    }
    return;
  }
  std::array<std::uint16_t, kMaxHeadDim> halves{};
  kernels.narrow(key, head_dim_, halves.data());
  for (std::size_t d = 0; d < dims; ++d) {
    std::memcpy(to + (d * kPageTokens + static_cast<std::size_t>(slot)) * 2, &halves[d], 2);
  }
}

void KvPool::write_value(std::int32_t page,
                         std::int32_t layer,
                         std::int32_t head,
                         std::int32_t slot,
                         const float* value,
                         const kernel::Kernels& kernels) {
  const auto dims = static_cast<std::size_t>(head_dim_);
  if (format_ == KvFormat::kInt8) {
    write_int8_value(block(page, layer, head), slot, value, kernels.attention);
    return;
  }
  std::uint8_t* to = block(page, layer, head) + code_bytes_;
  const std::size_t at = static_cast<std::size_t>(slot) * dims;
  if (format_ == KvFormat::kHalf) {
    kernels.narrow(value, head_dim_, reinterpret_cast<std::uint16_t*>(to) + at);
  } else {
    std::memcpy(to + at * 4, value, dims * 4);
  }
}

// Bytes of neighbouring tokens lie beside each other: single bytes are written, because another
// thread may write the neighbour.
void KvPool::write_int8_key(std::uint8_t* to,
                            std::int32_t slot,
                            const float* key,
                            const kernel::AttentionKernels& kernels) const {
  const auto dims = static_cast<std::size_t>(head_dim_);
  std::array<float, kMaxHeadDim> spread;
  std::array<std::int8_t, kMaxHeadDim> codes;
  std::copy_n(key, dims, spread.data());
  kernels.spread(spread.data(), head_dim_, spread_block(head_dim_));
  const auto at = static_cast<std::size_t>(slot);
  scales_of(to)[at] = kernels.encode(spread.data(), head_dim_, codes.data());
  for (std::size_t d = 0; d < dims; d += 2) {
    std::memcpy(to + d * kPageTokens + 2 * at, codes.data() + d, 2);
  }
}

void KvPool::write_int8_value(std::uint8_t* to,
                              std::int32_t slot,
                              const float* value,
                              const kernel::AttentionKernels& kernels) const {
  const auto dims = static_cast<std::size_t>(head_dim_);
  std::array<std::int8_t, kMaxHeadDim> codes;
  const auto at = static_cast<std::size_t>(slot);
  scales_of(to)[kPageTokens + at] = kernels.encode(value, head_dim_, codes.data());
  std::uint8_t* pairs = to + code_bytes_ + at / 2 * 2 * dims + at % 2;
  for (std::size_t d = 0; d < dims; ++d) {
    pairs[2 * d] = static_cast<std::uint8_t>(codes[d]);
  }
}

}  // namespace genesis::model
