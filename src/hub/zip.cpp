// The zip reader. Everything is judged from the central directory, then held against each local
// header.
#include "hub/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

static_assert(std::endian::native == std::endian::little, "stored numbers are read in place");

namespace genesis::hub {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint32_t kLocalSignature = 0x04034B50;
constexpr std::uint32_t kEntrySignature = 0x02014B50;
constexpr std::uint32_t kEndSignature = 0x06054B50;
constexpr std::uint32_t kEnd64Signature = 0x06064B50;
constexpr std::uint32_t kLocator64Signature = 0x07064B50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kMaxCommentBytes = 65'535;
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;  // "see the zip64 extra field"

constexpr std::uint64_t kMaxEntries = 100'000;
constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::uint64_t kMaxEntryBytes = 1ULL << 40;
// Weights shrink by a few percent, text by ten; deflate alone could do 1032 (a bomb's ratio).
constexpr std::uint64_t kMaxRatio = 200;
constexpr std::uint64_t kRatioFreeBytes = 1024 * 1024;

constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kDeflated = 8;
constexpr std::uint16_t kEncryptedFlags = 0x0001 | 0x0040 | 0x2000;
constexpr std::size_t kPieceBytes = 256 * 1024;

std::unexpected<Error> damaged(std::string message) {
  return fail(ErrorCode::kDataLoss, fmt::format("zip archive: {}", message));
}

// Reads a number at `at`; the caller has checked that it lies inside.
template <typename T>
T number(Bytes bytes, std::uint64_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

bool fits(Bytes bytes, std::uint64_t at, std::uint64_t size) {
  return at <= bytes.size() && size <= bytes.size() - at;
}

std::string text(Bytes bytes, std::uint64_t at, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes.data() + at), size};
}

struct Directory {
  std::uint64_t at = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

// The end record: the last place whose comment reaches exactly to the end of the file.
Result<std::uint64_t> find_end(Bytes file) {
  if (file.size() < kEndBytes) {
    return damaged("the file is too short");
  }
  const std::uint64_t last = file.size() - kEndBytes;
  const std::uint64_t first = last > kMaxCommentBytes ? last - kMaxCommentBytes : 0;
  for (std::uint64_t at = last + 1; at-- > first;) {
    if (number<std::uint32_t>(file, at) == kEndSignature &&
        number<std::uint16_t>(file, at + 20) == last - at) {
      return at;
    }
  }
  return damaged("it has no end record; the file is cut or is not a zip");
}

Result<Directory> read_end64(Bytes file, std::uint64_t end) {
  const std::uint64_t locator = end - kLocator64Bytes;
  const auto at = number<std::uint64_t>(file, locator + 8);
  if (!fits(file, at, kEnd64Bytes) || at + kEnd64Bytes > locator ||
      number<std::uint32_t>(file, at) != kEnd64Signature) {
    return damaged("the zip64 end record is not where its locator says");
  }
  Directory directory{.at = number<std::uint64_t>(file, at + 48),
                      .bytes = number<std::uint64_t>(file, at + 40),
                      .entries = number<std::uint64_t>(file, at + 32)};
  if (number<std::uint32_t>(file, at + 16) != 0 || number<std::uint32_t>(file, at + 20) != 0 ||
      number<std::uint64_t>(file, at + 24) != directory.entries) {
    return fail(ErrorCode::kUnsupported, "zip archive: it is split over several files");
  }
  if (!fits(file, directory.at, directory.bytes) || directory.at + directory.bytes != at) {
    return damaged("the directory does not end at the zip64 end record");
  }
  return directory;
}

Result<Directory> find_directory(Bytes file) {
  GENESIS_TRY(const auto end, find_end(file));
  if (end >= kLocator64Bytes &&
      number<std::uint32_t>(file, end - kLocator64Bytes) == kLocator64Signature) {
    return read_end64(file, end);
  }
  Directory directory{.at = number<std::uint32_t>(file, end + 16),
                      .bytes = number<std::uint32_t>(file, end + 12),
                      .entries = number<std::uint16_t>(file, end + 10)};
  if (number<std::uint16_t>(file, end + 4) != 0 || number<std::uint16_t>(file, end + 6) != 0 ||
      number<std::uint16_t>(file, end + 8) != directory.entries) {
    return fail(ErrorCode::kUnsupported, "zip archive: it is split over several files");
  }
  if (!fits(file, directory.at, directory.bytes) || directory.at + directory.bytes != end) {
    return damaged("the directory does not end at the end record");
  }
  return directory;
}

// Replaces the 32-bit fields that say "see zip64" by the values of the extra field.
Result<void> read_extra64(Bytes extra, ZipEntry& entry) {
  std::array<std::uint64_t*, 3> wanted{};
  std::size_t count = 0;
  for (std::uint64_t* field : {&entry.bytes, &entry.packed_bytes, &entry.header_at}) {
    if (*field == kIn64) {
      wanted[count++] = field;
    }
  }
  while (count > 0 && extra.size() >= 4) {
    const auto id = number<std::uint16_t>(extra, 0);
    const auto size = number<std::uint16_t>(extra, 2);
    extra = extra.subspan(4);
    if (size > extra.size()) {
      break;
    }
    if (id == 1 && size >= count * 8) {
      for (std::size_t i = 0; i < count; ++i) {
        *wanted[i] = number<std::uint64_t>(extra, i * 8);
      }
      return {};
    }
    extra = extra.subspan(size);
  }
  if (count > 0) {
    return damaged(fmt::format("entry '{}' has no zip64 sizes", entry.name));
  }
  return {};
}

bool is_safe_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || name.starts_with('/') || name.contains('\\') ||
      name.contains('\0') || name.contains(':')) {
    return false;
  }
  while (!name.empty()) {
    const auto slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    name = slash == std::string_view::npos ? std::string_view() : name.substr(slash + 1);
  }
  return true;
}

Result<void> check_entry(const ZipEntry& entry) {
  if (!is_safe_name(entry.name)) {
    return damaged("an entry's name is empty, too long, or leads outside the archive");
  }
  if ((entry.flags & kEncryptedFlags) != 0) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("zip archive: entry '{}' is encrypted", entry.name));
  }
  if (entry.method != kStored && entry.method != kDeflated) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("zip archive: entry '{}' has compression method {}", entry.name, entry.method));
  }
  if (entry.method == kStored && entry.bytes != entry.packed_bytes) {
    return damaged(fmt::format("stored entry '{}' has two different sizes", entry.name));
  }
  if (entry.bytes > kMaxEntryBytes) {
    return damaged(fmt::format("entry '{}' says {} bytes", entry.name, entry.bytes));
  }
  if (entry.bytes > kRatioFreeBytes && entry.bytes / kMaxRatio > entry.packed_bytes) {
    return damaged(fmt::format("entry '{}' would unpack {} bytes to {}: more than {} times",
                               entry.name,
                               entry.packed_bytes,
                               entry.bytes,
                               kMaxRatio));
  }
  return {};
}

// One row of the directory at `at`; moves `at` behind it.
Result<ZipEntry> read_entry(Bytes directory, std::uint64_t& at) {
  if (!fits(directory, at, kEntryBytes) ||
      number<std::uint32_t>(directory, at) != kEntrySignature) {
    return damaged(fmt::format("the directory has no entry at byte {}", at));
  }
  const auto name_bytes = number<std::uint16_t>(directory, at + 28);
  const auto extra_bytes = number<std::uint16_t>(directory, at + 30);
  const auto comment_bytes = number<std::uint16_t>(directory, at + 32);
  const std::uint64_t size = kEntryBytes + std::uint64_t{name_bytes} + extra_bytes + comment_bytes;
  if (!fits(directory, at, size)) {
    return damaged("an entry passes the end of the directory");
  }
  ZipEntry entry{.name = text(directory, at + kEntryBytes, name_bytes),
                 .method = number<std::uint16_t>(directory, at + 10),
                 .flags = number<std::uint16_t>(directory, at + 8),
                 .crc32 = number<std::uint32_t>(directory, at + 16),
                 .packed_bytes = number<std::uint32_t>(directory, at + 20),
                 .bytes = number<std::uint32_t>(directory, at + 24),
                 .header_at = number<std::uint32_t>(directory, at + 42)};
  GENESIS_TRY_VOID(read_extra64(
      directory.subspan(static_cast<std::size_t>(at) + kEntryBytes + name_bytes, extra_bytes),
      entry));
  GENESIS_TRY_VOID(check_entry(entry));
  at += size;
  return entry;
}

// Where the packed bytes of `entry` begin, after holding its local header against the directory.
Result<std::uint64_t> data_begin(Bytes file, const ZipEntry& entry) {
  const std::uint64_t at = entry.header_at;
  if (!fits(file, at, kLocalBytes) || number<std::uint32_t>(file, at) != kLocalSignature) {
    return damaged(fmt::format("entry '{}' has no local header", entry.name));
  }
  const auto name_bytes = number<std::uint16_t>(file, at + 26);
  const auto extra_bytes = number<std::uint16_t>(file, at + 28);
  const std::uint64_t begin = at + kLocalBytes + name_bytes + extra_bytes;
  if (!fits(file, begin, entry.packed_bytes) ||
      text(file, at + kLocalBytes, name_bytes) != entry.name ||
      number<std::uint16_t>(file, at + 8) != entry.method ||
      (number<std::uint16_t>(file, at + 6) & kEncryptedFlags) != 0) {
    return damaged(fmt::format("the local header of '{}' contradicts the directory", entry.name));
  }
  return begin;
}

// Names must be unique and data must not be shared: a bomb may use the same bytes many times.
Result<void> check_layout(Bytes file, const std::vector<ZipEntry>& entries, std::uint64_t end) {
  std::vector<std::string_view> names;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const ZipEntry& entry : entries) {
    GENESIS_TRY(const auto begin, data_begin(file, entry));
    names.push_back(entry.name);
    ranges.emplace_back(entry.header_at, begin + entry.packed_bytes);
  }
  std::ranges::sort(names);
  if (const auto repeated = std::ranges::adjacent_find(names); repeated != names.end()) {
    return damaged(fmt::format("entry '{}' is listed twice", *repeated));
  }
  std::ranges::sort(ranges);
  std::uint64_t free_from = 0;
  for (const auto& [begin, stop] : ranges) {
    if (begin < free_from) {
      return damaged("entries overlap");
    }
    free_from = stop;
  }
  if (free_from > end) {
    return damaged("an entry passes into the directory");
  }
  return {};
}

// Ends inflation on every way out.
class Inflater {
 public:
  Inflater() { ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK; }

  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  ~Inflater() {
    if (ready_) {
      inflateEnd(&stream_);
    }
  }

  bool ready() const { return ready_; }

  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

// Unpacks raw deflate data, at most `limit` bytes; returns true when it ended where the input ends.
Result<bool> inflate_to(Bytes packed, std::uint64_t limit, const ByteSink& sink) {
  Inflater inflater;
  if (!inflater.ready()) {
    return fail(ErrorCode::kResourceExhausted, "zip archive: no memory to unpack");
  }
  z_stream& stream = inflater.stream();
  std::vector<std::uint8_t> piece(kPieceBytes);
  std::uint64_t given = 0;
  for (;;) {
    if (stream.avail_in == 0) {
      const std::size_t some = std::min<std::size_t>(packed.size(), kPieceBytes);
      stream.next_in = const_cast<Bytef*>(packed.data());
      stream.avail_in = static_cast<uInt>(some);
      packed = packed.subspan(some);
    }
    stream.next_out = piece.data();
    stream.avail_out = static_cast<uInt>(piece.size());
    const int state = inflate(&stream, Z_NO_FLUSH);
    const std::size_t made = piece.size() - stream.avail_out;
    given += made;
    if (given > limit || (state != Z_OK && state != Z_STREAM_END)) {
      return false;
    }
    GENESIS_TRY_VOID(sink(std::span(piece).first(made)));
    if (state == Z_STREAM_END) {
      return stream.avail_in == 0 && packed.empty();
    }
  }
}

}  // namespace

Result<ZipArchive> ZipArchive::open(Bytes bytes) {
  GENESIS_TRY(const auto directory, find_directory(bytes));
  if (directory.entries > kMaxEntries || directory.entries > directory.bytes / kEntryBytes) {
    return damaged(fmt::format("{} entries cannot be right", directory.entries));
  }
  const Bytes rows = bytes.subspan(static_cast<std::size_t>(directory.at),
                                   static_cast<std::size_t>(directory.bytes));
  std::vector<ZipEntry> entries;
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    GENESIS_TRY(auto entry, read_entry(rows, at));
    entries.push_back(std::move(entry));
  }
  if (at != rows.size()) {
    return damaged("the directory is longer than its entries");
  }
  GENESIS_TRY_VOID(check_layout(bytes, entries, directory.at));
  return ZipArchive(bytes, std::move(entries));
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto at = std::ranges::find(entries_, name, &ZipEntry::name);
  return at == entries_.end() ? nullptr : &*at;
}

Result<void> ZipArchive::extract(const ZipEntry& entry, const ByteSink& sink) const {
  GENESIS_TRY(const auto begin, data_begin(bytes_, entry));
  const Bytes packed =
      bytes_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(entry.packed_bytes));
  uLong checksum = ::crc32(0, nullptr, 0);
  std::uint64_t given = 0;
  const ByteSink counted = [&](Bytes piece) -> Result<void> {
    checksum = ::crc32_z(checksum, piece.data(), piece.size());
    given += piece.size();
    return sink(piece);
  };
  bool whole = true;
  if (entry.method == kStored) {
    for (std::size_t at = 0; at < packed.size(); at += kPieceBytes) {
      GENESIS_TRY_VOID(counted(packed.subspan(at, std::min(kPieceBytes, packed.size() - at))));
    }
  } else {
    GENESIS_TRY(whole, inflate_to(packed, entry.bytes, counted));
  }
  if (!whole || given != entry.bytes || checksum != entry.crc32) {
    return damaged(fmt::format(
        "entry '{}' does not unpack to its {} bytes and checksum", entry.name, entry.bytes));
  }
  return {};
}

Result<std::string> ZipArchive::read(const ZipEntry& entry, std::size_t limit) const {
  if (entry.bytes > limit) {
    return damaged(
        fmt::format("entry '{}' has {} bytes; {} are allowed", entry.name, entry.bytes, limit));
  }
  std::string out;
  GENESIS_TRY_VOID(extract(entry, [&](Bytes piece) -> Result<void> {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return {};
  }));
  return out;
}

}  // namespace genesis::hub
