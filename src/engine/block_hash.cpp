// Fields go in with their length before them, so that no two different lists of fields give the
// same bytes.
#include "engine/block_hash.h"

#include <algorithm>

namespace genesis::engine {

namespace {

void put_number(std::string& bytes, std::uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(number >> static_cast<unsigned>(shift) & 0xFFU));
  }
}

void put_text(std::string& bytes, std::string_view text) {
  put_number(bytes, text.size());
  bytes += text;
}

BlockHash name_root(std::string_view model, std::string_view salt) {
  std::string bytes;
  put_text(bytes, "genesis.kv.1");
  put_text(bytes, model);
  put_text(bytes, salt);
  return sha256(bytes);
}

}  // namespace

BlockNamer::BlockNamer(std::string_view model,
                       std::string_view salt,
                       std::string_view adapter_content,
                       std::int32_t adapter_from)
    : root_(name_root(model, salt)), adapter_(adapter_content), adapter_from_(adapter_from) {}

BlockHash BlockNamer::next(const BlockHash& before,
                           std::int32_t start,
                           std::span<const std::int32_t> tokens) const {
  std::string bytes;
  bytes.reserve(before.size() + adapter_.size() + 32 + tokens.size() * 4);
  bytes.append(before.begin(), before.end());
  put_block(bytes, start, start + static_cast<std::int32_t>(tokens.size()));
  for (const std::int32_t token : tokens) {
    const auto bits = static_cast<std::uint32_t>(token);
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(bits >> shift & 0xFFU));
    }
  }
  return sha256(bytes);
}

BlockHash BlockNamer::place(const BlockHash& before,
                            std::int32_t start,
                            std::int32_t page_tokens) const {
  std::string bytes(before.begin(), before.end());
  put_block(bytes, start, start + page_tokens);
  put_text(bytes, "place");
  return sha256(bytes);
}

// What of the adapter matters to the positions from `start` to `end`.
void BlockNamer::put_block(std::string& bytes, std::int32_t start, std::int32_t end) const {
  if (adapter_.empty() || end <= adapter_from_) {
    put_text(bytes, {});
    return;
  }
  put_text(bytes, adapter_);
  // Where in this block the adapter begins; the chain tells it of the blocks before.
  put_number(bytes, static_cast<std::uint64_t>(std::max(adapter_from_ - start, 0)));
}

std::vector<BlockHash> BlockNamer::name_all(std::span<const std::int32_t> tokens,
                                            std::int32_t page_tokens) const {
  std::vector<BlockHash> names;
  const auto page = static_cast<std::size_t>(page_tokens);
  names.reserve(tokens.size() / page);
  for (std::size_t start = 0; start + page <= tokens.size(); start += page) {
    names.push_back(next(names.empty() ? root_ : names.back(),
                         static_cast<std::int32_t>(start),
                         tokens.subspan(start, page)));
  }
  return names;
}

}  // namespace genesis::engine
