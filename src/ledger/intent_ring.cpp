#include "ledger/intent_ring.h"

#include "base/log.h"
#include "base/random.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace genesis::ledger {

// In the machine's byte order: a ring never leaves it.
struct SlotHeader {
  std::uint32_t checksum = 0;  // of everything after it, to the end of the part
  std::uint16_t part = 0;      // from 0
  std::uint16_t parts = 0;
  std::uint64_t position = 0;
  std::uint32_t length = 0;  // bytes of the record in this slot
  std::uint32_t reserved = 0;
};

namespace {

constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kPartBytes = IntentRing::kSlotBytes - sizeof(SlotHeader);
// 64 KiB, the most a part count of 16 bits should be trusted with.
constexpr std::size_t kMaxParts = 128;
constexpr std::uint64_t kMinSlots = 2 * kMaxParts;
constexpr std::uint64_t kMaxSlots = 1U << 22U;
constexpr std::string_view kMagic = "GNRING01";

struct FileHeader {
  char magic[8] = {};
  std::uint64_t slots = 0;
  std::uint64_t id = 0;
  std::uint32_t checksum = 0;  // of the three fields before
  std::uint32_t reserved = 0;
};

std::uint32_t crc(std::uint32_t seed, const void* data, std::size_t size) {
  return static_cast<std::uint32_t>(
      ::crc32(seed, static_cast<const Bytef*>(data), static_cast<uInt>(size)));
}

std::uint32_t header_checksum(const FileHeader& header) {
  return crc(0, &header, offsetof(FileHeader, checksum));
}

std::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view doing) {
  return fail_param(path.string(),
                    fmt::format("cannot {} the intent ring {}: {}",
                                doing,
                                path.string(),
                                std::generic_category().message(errno)),
                    errno == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kIo);
}

class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}

  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;

  ~FileHandle() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }

  int get() const { return fd_; }

  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Blocks first, header last, then the name: a half-made file never has the ring's name.
Result<void> create(const std::filesystem::path& path, std::uint64_t slots) {
  const std::string partial = path.string() + ".part";
  ::unlink(partial.c_str());
  const FileHandle file(
      ::open(partial.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) {
    return io_error(path, "create");
  }
  const auto size = static_cast<off_t>(kHeaderBytes + slots * IntentRing::kSlotBytes);
  if (const int error = ::posix_fallocate(file.get(), 0, size); error != 0) {
    errno = error;
    return io_error(path, "allocate");
  }
  FileHeader header;
  kMagic.copy(header.magic, kMagic.size());
  header.slots = slots;
  std::array<std::uint8_t, 8> noise{};
  secure_random_bytes(noise);
  std::memcpy(&header.id, noise.data(), noise.size());
  header.checksum = header_checksum(header);
  if (::pwrite(file.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header) ||
      ::fsync(file.get()) != 0 || ::rename(partial.c_str(), path.c_str()) != 0) {
    return io_error(path, "write");
  }
  const FileHandle folder(
      ::open(path.parent_path().empty() ? "." : path.parent_path().c_str(), O_RDONLY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
    return io_error(path, "sync the folder of");
  }
  return {};
}

Result<FileHeader> read_header(int fd, const std::filesystem::path& path) {
  FileHeader header;
  struct stat status{};
  if (::fstat(fd, &status) != 0 ||
      ::pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
    return fail(ErrorCode::kDataLoss, "it is too short");
  }
  const bool ours = std::string_view(header.magic, sizeof header.magic) == kMagic &&
                    header.checksum == header_checksum(header) && header.slots >= kMinSlots &&
                    header.slots <= kMaxSlots;
  const auto size = static_cast<off_t>(kHeaderBytes + header.slots * IntentRing::kSlotBytes);
  if (!ours || !S_ISREG(status.st_mode) || status.st_size != size) {
    return fail(ErrorCode::kDataLoss, fmt::format("{} is not an intent ring", path.string()));
  }
  return header;
}

}  // namespace

IntentRing::IntentRing(int fd, std::uint8_t* map, std::uint64_t slots, std::uint64_t id)
    : fd_(fd), map_(map), slots_(slots), id_(id), name_(fmt::format("{:016x}", id)) {}

IntentRing::~IntentRing() {
  ::munmap(map_, kHeaderBytes + slots_ * kSlotBytes);
  ::close(fd_);
}

Result<std::unique_ptr<IntentRing>> IntentRing::map_file(const std::filesystem::path& path) {
  FileHandle file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0 && errno == ENOENT) {
    return fail(ErrorCode::kNotFound, "there is no intent ring yet");
  }
  if (file.get() < 0) {
    return errno == ELOOP ? fail(ErrorCode::kDataLoss, "the intent ring is a link")
                          : io_error(path, "open");
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail_param(path.string(),
                      fmt::format("the intent ring {} is in use by another process", path.string()),
                      ErrorCode::kConflict);
  }
  GENESIS_TRY(const FileHeader header, read_header(file.get(), path));
  void* map = ::mmap(nullptr,
                     kHeaderBytes + header.slots * kSlotBytes,
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE,
                     file.get(),
                     0);
  if (map == MAP_FAILED) {
    return io_error(path, "map");
  }
  return std::unique_ptr<IntentRing>(
      new IntentRing(file.release(), static_cast<std::uint8_t*>(map), header.slots, header.id));
}

Result<std::unique_ptr<IntentRing>> IntentRing::open(const std::filesystem::path& path,
                                                     std::uint64_t slots,
                                                     Sync sync) {
  slots = std::clamp(slots, kMinSlots, kMaxSlots);
  auto ring = map_file(path);
  const bool damaged = !ring && ring.error().code == ErrorCode::kDataLoss;
  if (damaged) {
    GENESIS_TRY_VOID(set_aside(path, ring.error().message));
  }
  if (damaged || (!ring && ring.error().code == ErrorCode::kNotFound)) {
    GENESIS_TRY_VOID(create(path, slots));
    ring = map_file(path);
  }
  if (ring) {
    (*ring)->replaced_ = damaged;
    (*ring)->sync_ = sync ? std::move(sync) : Sync(::fdatasync);
  }
  return ring;
}

Result<void> IntentRing::set_aside(const std::filesystem::path& path, std::string_view why) {
  const std::string aside = path.string() + ".damaged";
  log(LogLevel::kError,
      "the intent ring is of no use; rows that only it held are lost",
      {{"file", path.string()}, {"kept_as", aside}, {"why", why}});
  return ::rename(path.c_str(), aside.c_str()) == 0 ? Result<void>{} : io_error(path, "set aside");
}

bool IntentRing::blank() const {
  for (std::uint64_t i = 0; i < slots_; ++i) {
    SlotHeader header;
    if (read_slot(slot(i), header)) {
      return false;
    }
  }
  return true;
}

std::uint8_t* IntentRing::slot(std::uint64_t position) const {
  return map_ + kHeaderBytes + position % slots_ * kSlotBytes;
}

std::uint32_t IntentRing::slot_checksum(const std::uint8_t* slot, std::size_t length) const {
  const std::uint32_t seed = crc(0, &id_, sizeof id_);
  constexpr std::size_t kFrom = sizeof(SlotHeader::checksum);
  return crc(seed, slot + kFrom, sizeof(SlotHeader) - kFrom + length);
}

bool IntentRing::read_slot(const std::uint8_t* slot, SlotHeader& header) const {
  std::memcpy(&header, slot, sizeof header);
  return header.length <= kPartBytes && header.parts > 0 && header.parts <= kMaxParts &&
         header.part < header.parts && header.checksum == slot_checksum(slot, header.length);
}

std::vector<RingRecord> IntentRing::read_after(std::uint64_t applied) {
  std::map<std::uint64_t, SlotHeader> found;
  for (std::uint64_t i = 0; i < slots_; ++i) {
    SlotHeader header;
    if (read_slot(slot(i), header) && header.position % slots_ == i) {
      last_ = std::max(last_, header.position);
      if (header.position > applied) {
        found.emplace(header.position, header);
      }
    }
  }
  last_ = std::max(last_, applied);
  std::vector<RingRecord> records;
  std::string bytes;
  std::uint16_t next_part = 0;
  std::uint64_t next_position = 0;
  std::uint64_t used = 0;
  for (const auto& [position, header] : found) {
    if (header.part != 0 && (header.part != next_part || position != next_position)) {
      continue;  // the rest of a record whose beginning is gone
    }
    if (header.part == 0) {
      bytes.clear();
    }
    bytes.append(reinterpret_cast<const char*>(slot(position)) + sizeof header, header.length);
    next_part = static_cast<std::uint16_t>(header.part + 1);
    next_position = position + 1;
    if (next_part == header.parts) {
      used += header.parts;
      records.push_back({position, std::exchange(bytes, {})});
      next_part = 0;
    }
  }
  lost_slots_ = found.empty() ? 0 : found.rbegin()->first - applied - used;
  released_ = last_;
  return records;
}

Result<std::uint64_t> IntentRing::append(std::string_view bytes) {
  const std::size_t parts = std::max<std::size_t>(1, (bytes.size() + kPartBytes - 1) / kPartBytes);
  if (parts > kMaxParts || last_ + parts - released_ > slots_) {
    return fail(ErrorCode::kResourceExhausted, "the intent ring is full");
  }
  for (std::size_t part = 0; part < parts; ++part) {
    const std::string_view piece = bytes.substr(part * kPartBytes, kPartBytes);
    std::uint8_t* to = slot(last_ + 1 + part);
    SlotHeader header{.part = static_cast<std::uint16_t>(part),
                      .parts = static_cast<std::uint16_t>(parts),
                      .position = last_ + 1 + part,
                      .length = static_cast<std::uint32_t>(piece.size())};
    std::memcpy(to + sizeof header, piece.data(), piece.size());
    std::memcpy(to, &header, sizeof header);
    header.checksum = slot_checksum(to, piece.size());
    std::memcpy(to, &header, sizeof header.checksum);
  }
  last_ += parts;
  return last_;
}

// fdatasync writes the dirty pages of the mapping and flushes the disk's cache; the other calls
// that do took as long where they were measured (decision 010).
Result<void> IntentRing::sync() {
  if (sync_(fd_) != 0) {
    return fail(
        ErrorCode::kIo,
        fmt::format("cannot sync the intent ring: {}", std::generic_category().message(errno)));
  }
  return {};
}

void IntentRing::release(std::uint64_t position) {
  released_ = std::clamp(position, released_, last_);
}

}  // namespace genesis::ledger
