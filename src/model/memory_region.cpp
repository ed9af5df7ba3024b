// Anonymous mappings for weights and the KV pool.
#include "model/memory_region.h"

#include <fmt/format.h>

#include <sys/mman.h>
#include <utility>

namespace genesis::model {

Result<MemoryRegion> MemoryRegion::allocate(std::size_t bytes, const char* purpose) {
  void* data = mmap(
      nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("{} MiB of memory for {} cannot be had", (bytes >> 20) + 1, purpose),
                "free memory, lower kv_bytes or choose a smaller model");
  }
  // A hint only: without huge pages everything works, with more address translation misses.
  static_cast<void>(madvise(data, bytes, MADV_HUGEPAGE));
  MemoryRegion region;
  region.data_ = static_cast<std::uint8_t*>(data);
  region.size_ = bytes;
  return region;
}

Result<MemoryRegion> MemoryRegion::map_shared(int fd,
                                              std::uint64_t offset,
                                              std::size_t bytes,
                                              const char* purpose) {
  void* data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    return fail(
        ErrorCode::kResourceExhausted,
        fmt::format("a file of {} MiB for {} cannot be mapped", (bytes >> 20) + 1, purpose));
  }
  MemoryRegion region;
  region.data_ = static_cast<std::uint8_t*>(data);
  region.size_ = bytes;
  return region;
}

MemoryRegion::MemoryRegion(MemoryRegion&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MemoryRegion& MemoryRegion::operator=(MemoryRegion&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MemoryRegion::~MemoryRegion() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
}

}  // namespace genesis::model
