// Page storage for keys and values.
#include "model/kv_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace genesis::model {
namespace {

constexpr std::int32_t kMaxHeadDim = 1024;  // as check_spec() bounds it

}  // namespace

Result<KvPool> KvPool::create(const ModelSpec& spec, bool half, std::int64_t bytes) {
  KvPool pool;
  pool.layers_ = spec.layers;
  pool.kv_heads_ = spec.kv_heads;
  pool.head_dim_ = spec.head_dim;
  pool.half_ = half;
  pool.block_bytes_ = static_cast<std::size_t>(kPageTokens * spec.head_dim) * (half ? 2 : 4);
  pool.page_bytes_ =
      std::int64_t{2} * spec.layers * spec.kv_heads * static_cast<std::int64_t>(pool.block_bytes_);
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
  if (!half_) {
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
  std::uint8_t* to = block(page, layer, head) + block_bytes_;
  const std::size_t at = static_cast<std::size_t>(slot) * dims;
  if (half_) {
    kernels.narrow(value, head_dim_, reinterpret_cast<std::uint16_t*>(to) + at);
  } else {
    std::memcpy(to + at * 4, value, dims * 4);
  }
}

}  // namespace genesis::model
