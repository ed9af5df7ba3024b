// Zero-filled memory straight from the kernel: page-aligned, committed when first touched, backed
// by huge pages where the system allows. Owns the mapping; moved, not copied.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>

namespace genesis::model {

class MemoryRegion {
 public:
  MemoryRegion() = default;
  // kResourceExhausted, naming `purpose` and the size.
  static Result<MemoryRegion> allocate(std::size_t bytes, const char* purpose);
  // Memory that is `bytes` of the open file from `offset` (whole pages) on: what is written goes to
  // the file, and other processes that map it share it. Its blocks must be reserved already.
  static Result<MemoryRegion> map_shared(int fd,
                                         std::uint64_t offset,
                                         std::size_t bytes,
                                         const char* purpose);

  MemoryRegion(MemoryRegion&& other) noexcept;
  MemoryRegion& operator=(MemoryRegion&& other) noexcept;
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;
  ~MemoryRegion();

  std::uint8_t* data() const { return data_; }

  std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace genesis::model
