// BlockHash: the name of a page's worth of tokens together with everything before them, so that
// equal names mean equal keys and values. A chain as in vLLM's prefix cache: each block's hash
// covers the hash of the block before.
#pragma once

#include "base/sha256.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::engine {

// SHA-256: prompts are hostile, and two that share a hash would share an answer.
using BlockHash = Digest;

struct BlockHashHasher {
  std::size_t operator()(const BlockHash& hash) const noexcept {
    std::size_t bits = 0;
    std::memcpy(&bits, hash.data(), sizeof(bits));
    return bits;
  }
};

// Names the blocks of one sequence. Nothing is shared between models, between adapters that differ
// in content, or between salts (tenants); what an activated adapter leaves to the base model is
// shared with it and with every other such adapter.
class BlockNamer {
 public:
  // Positions from `adapter_from` on are computed with the adapter of `adapter_content`, empty for
  // the base model alone.
  BlockNamer(std::string_view model,
             std::string_view salt,
             std::string_view adapter_content,
             std::int32_t adapter_from);

  // What the first block follows.
  const BlockHash& root() const { return root_; }

  // The block of `tokens` (a whole page) from position `start` on, after the block named `before`.
  BlockHash next(const BlockHash& before,
                 std::int32_t start,
                 std::span<const std::int32_t> tokens) const;

  // The place of a page that is not full, after the block named `before`, at `start`: pages with
  // the same place and tokens hold the same keys and values.
  BlockHash place(const BlockHash& before, std::int32_t start, std::int32_t page_tokens) const;

  // The names of all whole pages of `tokens`, from position 0 on.
  std::vector<BlockHash> name_all(std::span<const std::int32_t> tokens,
                                  std::int32_t page_tokens) const;

 private:
  void put_block(std::string& bytes, std::int32_t start, std::int32_t end) const;

  BlockHash root_;
  std::string adapter_;
  std::int32_t adapter_from_;
};

}  // namespace genesis::engine
