// The walk over the log's frames.
#include "store/log_scan.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <system_error>
#include <unistd.h>

namespace genesis::store {

namespace {

constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kFrameHeaderBytes = 24;
// The lowest bit tells the byte order of the checksum's words.
constexpr std::uint32_t kMagic = 0x377f0682;

std::uint32_t big_endian(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at]) << 24 |
         static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
         static_cast<std::uint32_t>(bytes[at + 2]) << 8 | static_cast<std::uint32_t>(bytes[at + 3]);
}

struct Checksum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  bool operator==(const Checksum&) const = default;
};

// The Fibonacci-weighted sum of the format's section 4.2; `bytes` is a multiple of eight.
Checksum add(Checksum sum, std::span<const std::uint8_t> bytes, bool big_words) {
  const bool swap = big_words != (std::endian::native == std::endian::big);
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    std::array<std::uint32_t, 2> word{};
    std::memcpy(word.data(), bytes.data() + i, 8);
    if (swap) {
      word = {std::byteswap(word[0]), std::byteswap(word[1])};
    }
    sum.first += word[0] + sum.second;
    sum.second += word[1] + sum.first;
  }
  return sum;
}

Checksum stored(std::span<const std::uint8_t> bytes, std::size_t at) {
  return {big_endian(bytes, at), big_endian(bytes, at + 4)};
}

class LogFile {
 public:
  explicit LogFile(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  ~LogFile() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }

  bool open() const { return fd_ >= 0; }

  // False at the end of the file.
  bool read(std::int64_t offset, std::span<std::uint8_t> out) const {
    return ::pread(fd_, out.data(), out.size(), offset) == static_cast<ssize_t>(out.size());
  }

 private:
  int fd_;
};

void note_damage(LogScan& scan, std::string what) {
  if (scan.damage.empty()) {
    scan.damage = std::move(what);
  }
}

// Frames of an older generation may follow the present ones. Salts that match by half, or a present
// frame after an older one, cannot come about by writing.
void walk(const LogFile& file, std::span<const std::uint8_t> header, LogScan& scan) {
  const bool big_words = (big_endian(header, 0) & 1U) != 0;
  const std::uint32_t salts[2] = {big_endian(header, 16), big_endian(header, 20)};
  const std::size_t frame_bytes = kFrameHeaderBytes + scan.page_size;
  std::vector<std::uint8_t> frame(frame_bytes);
  Checksum previous = stored(header, 24);
  bool ended = false;
  std::int64_t offset = kHeaderBytes;
  for (std::int64_t index = 1; file.read(offset, frame); ++index) {
    const bool first_salt = big_endian(frame, 8) == salts[0];
    const bool second_salt = big_endian(frame, 12) == salts[1];
    if (first_salt != second_salt || (ended && first_salt)) {
      note_damage(scan, fmt::format("frame {} of the log has a wrong salt", index));
    }
    ended = ended || !(first_salt || second_salt);
    if (!ended) {
      const Checksum sum = add(add(previous, std::span(frame).first(8), big_words),
                               std::span(frame).subspan(kFrameHeaderBytes),
                               big_words);
      const Checksum expected = stored(frame, 16);
      const bool intact = sum == expected && first_salt && second_salt;
      if (!intact) {
        note_damage(scan, fmt::format("frame {} of the log does not match its checksum", index));
      }
      scan.frames.push_back({.page = big_endian(frame, 0),
                             .offset = offset + static_cast<std::int64_t>(kFrameHeaderBytes),
                             .intact = intact});
      // Going on from the stored sum finds damage frame by frame instead of once.
      previous = expected;
    }
    offset += static_cast<std::int64_t>(frame_bytes);
  }
}

}  // namespace

Result<LogScan> scan_log(const std::filesystem::path& log) {
  LogScan scan;
  const LogFile file(log);
  if (!file.open()) {
    if (errno == ENOENT) {
      return scan;
    }
    return fail_param(
        log.string(),
        fmt::format("cannot open {}: {}", log.string(), std::generic_category().message(errno)),
        ErrorCode::kIo);
  }
  std::array<std::uint8_t, kHeaderBytes> header{};
  if (!file.read(0, header)) {
    return scan;
  }
  const bool magic = (big_endian(header, 0) & ~1U) == kMagic;
  const bool big_words = (big_endian(header, 0) & 1U) != 0;
  const std::uint32_t page_size = big_endian(header, 8);
  if (!magic || !std::has_single_bit(page_size) || page_size < 512 || page_size > 65536 ||
      add({}, std::span(header).first(24), big_words) != stored(header, 24)) {
    scan.damage = "the log's header does not match its checksum";
    return scan;
  }
  scan.page_size = page_size;
  walk(file, header, scan);
  return scan;
}

}  // namespace genesis::store
