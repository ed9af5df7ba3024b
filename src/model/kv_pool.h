// The pool of KV pages: storage only, who owns which page is the scheduler's business.
//
// A page holds 32 tokens of every layer and KV head, in the order attention reads it.
// Int8: as kernel/attention.h tells, keys spread by a Walsh-Hadamard transform, with a scale for
// each token's key and value. Half and float: keys transposed, [head_dim][32 tokens], values plain,
// [32 tokens][head_dim], so that both products of attention are rows times a contiguous matrix.
#pragma once

#include "base/result.h"
#include "kernel/kernels.h"
#include "model/memory_region.h"
#include "model/model_spec.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace genesis::model {

inline constexpr std::int32_t kPageTokens = kernel::kPageTokens;

enum class KvFormat : std::uint8_t { kInt8, kHalf, kFloat };

std::string_view kv_format_name(KvFormat format);  // "int8", "fp16", "fp32"

// Values spread together: the largest power of two that divides the head size.
std::int32_t spread_block(std::int32_t head_dim);

// Bytes of a page: 32 tokens of all layers and KV heads.
std::int64_t kv_page_bytes(const ModelSpec& spec, KvFormat format);

// Threads may write different tokens or heads at once, and read what no one writes.
class KvPool {
 public:
  // kResourceExhausted when not even one page fits into `bytes`.
  static Result<KvPool> create(const ModelSpec& spec, KvFormat format, std::int64_t bytes);

  std::int32_t pages() const { return pages_; }

  std::int64_t page_bytes() const { return page_bytes_; }

  KvFormat format() const { return format_; }

  // Of one layer and head of a page. Scales, one for each token, only with kInt8.
  const void* keys(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return block(page, layer, head);
  }

  const void* values(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return block(page, layer, head) + code_bytes_;
  }

  const float* key_scales(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return scales_of(block(page, layer, head));
  }

  const float* value_scales(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return scales_of(block(page, layer, head)) + kPageTokens;
  }

  // Stores one token's key and value of one head, head_dim floats each, at `slot` of the page.
  void write_key(std::int32_t page,
                 std::int32_t layer,
                 std::int32_t head,
                 std::int32_t slot,
                 const float* key,
                 const kernel::Kernels& kernels);
  void write_value(std::int32_t page,
                   std::int32_t layer,
                   std::int32_t head,
                   std::int32_t slot,
                   const float* value,
                   const kernel::Kernels& kernels);

 private:
  std::uint8_t* block(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    const std::int64_t index = (std::int64_t{page} * layers_ + layer) * kv_heads_ + head;
    return memory_.data() + static_cast<std::size_t>(index) * block_bytes_;
  }

  float* scales_of(std::uint8_t* of_block) const {
    return reinterpret_cast<float*>(of_block + 2 * code_bytes_);
  }

  void write_int8_key(std::uint8_t* to,
                      std::int32_t slot,
                      const float* key,
                      const kernel::AttentionKernels& kernels) const;
  void write_int8_value(std::uint8_t* to,
                        std::int32_t slot,
                        const float* value,
                        const kernel::AttentionKernels& kernels) const;

  MemoryRegion memory_;
  std::int32_t layers_ = 0;
  std::int32_t kv_heads_ = 0;
  std::int32_t head_dim_ = 0;
  std::int32_t pages_ = 0;
  std::int64_t page_bytes_ = 0;
  std::size_t code_bytes_ = 0;   // keys or values of one layer and head in a page
  std::size_t block_bytes_ = 0;  // both, and their scales
  KvFormat format_ = KvFormat::kInt8;
};

}  // namespace genesis::model
