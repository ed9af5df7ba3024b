// The pool of KV pages: storage only, who owns which page is the scheduler's business.
//
// A page holds 32 tokens of every layer and KV head, in the order attention reads it: keys
// transposed, [head_dim][32 tokens], values plain, [32 tokens][head_dim]; binary16, or float in
// fp32 mode. With that, both products of attention are rows times a contiguous matrix.
#pragma once

#include "base/result.h"
#include "kernel/kernels.h"
#include "model/memory_region.h"
#include "model/model_spec.h"

#include <cstddef>
#include <cstdint>

namespace genesis::model {

inline constexpr std::int32_t kPageTokens = 32;

// Threads may write different tokens or heads at once, and read what no one writes.
class KvPool {
 public:
  // kResourceExhausted when not even one page fits into `bytes`.
  static Result<KvPool> create(const ModelSpec& spec, bool half, std::int64_t bytes);

  std::int32_t pages() const { return pages_; }

  std::int64_t page_bytes() const { return page_bytes_; }

  bool half() const { return half_; }

  const void* keys(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return block(page, layer, head);
  }

  const void* values(std::int32_t page, std::int32_t layer, std::int32_t head) const {
    return block(page, layer, head) + block_bytes_;
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
    return memory_.data() + static_cast<std::size_t>(index) * 2 * block_bytes_;
  }

  MemoryRegion memory_;
  std::int32_t layers_ = 0;
  std::int32_t kv_heads_ = 0;
  std::int32_t head_dim_ = 0;
  std::int32_t pages_ = 0;
  std::int64_t page_bytes_ = 0;
  std::size_t block_bytes_ = 0;  // keys or values of one layer and head in a page
  bool half_ = true;
};

}  // namespace genesis::model
