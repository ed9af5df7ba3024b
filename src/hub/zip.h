// Reads zip archives (PKWARE APPNOTE 6.3.10; zip64 included) out of hostile bytes: stored and
// deflated entries. Sizes, offsets, names and ratios are checked before a byte is unpacked.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

struct ZipEntry {
  std::string name;          // relative, '/' between parts, no "..", unique in its archive
  std::uint16_t method = 0;  // 0 stored, 8 deflated
  std::uint16_t flags = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t packed_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t header_at = 0;  // offset of the local header
};

// Takes the unpacked bytes piece by piece; an error stops the extraction.
using ByteSink = std::function<Result<void>(std::span<const std::uint8_t>)>;

// Refers to bytes owned by the caller. Immutable after open().
class ZipArchive {
 public:
  // kDataLoss: not a zip, or one that contradicts itself. kUnsupported: encrypted, split, other
  // compression.
  static Result<ZipArchive> open(std::span<const std::uint8_t> bytes);

  const std::vector<ZipEntry>& entries() const { return entries_; }

  const ZipEntry* find(std::string_view name) const;
  // Gives exactly entry.bytes bytes with entry.crc32 to `sink`, or fails with kDataLoss.
  Result<void> extract(const ZipEntry& entry, const ByteSink& sink) const;
  // A small entry as text; kDataLoss above `limit`.
  Result<std::string> read(const ZipEntry& entry, std::size_t limit) const;

 private:
  ZipArchive(std::span<const std::uint8_t> bytes, std::vector<ZipEntry> entries)
      : bytes_(bytes), entries_(std::move(entries)) {}

  Result<std::span<const std::uint8_t>> packed(const ZipEntry& entry) const;

  std::span<const std::uint8_t> bytes_;
  std::vector<ZipEntry> entries_;
};

}  // namespace genesis::hub
