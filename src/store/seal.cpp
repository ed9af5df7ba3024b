// The seal's file: a 64-byte header, then 32 bytes a page.
#include "store/seal.h"

#include "base/clock.h"
#include "base/file.h"
#include "store/sqlite_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace genesis::store {

namespace {

static_assert(std::endian::native == std::endian::little, "the seal's numbers are little-endian");

// magic, page_size, page count, generation, commits, 16 unused bytes, and half a SHA-256 of all
// that.
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kHashedBytes = 48;
constexpr std::array<char, 8> kMagic = {'G', 'E', 'N', 'S', 'E', 'A', 'L', '1'};

using Header = std::array<std::uint8_t, kHeaderBytes>;

Header encode(const SealHeader& seal) {
  Header header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(header.data() + 8, &seal.page_size, 4);
  std::memcpy(header.data() + 12, &seal.page_count, 4);
  std::memcpy(header.data() + 16, &seal.generation, 8);
  std::memcpy(header.data() + 24, &seal.commits, 8);
  Sha256 hash;
  hash.update(std::span<const std::uint8_t>(header).first(kHashedBytes));
  const Digest digest = hash.finish();
  std::copy_n(digest.begin(), kHeaderBytes - kHashedBytes, header.begin() + kHashedBytes);
  return header;
}

SealHeader decode(const Header& header) {
  SealHeader seal;
  std::memcpy(&seal.page_size, header.data() + 8, 4);
  std::memcpy(&seal.page_count, header.data() + 12, 4);
  std::memcpy(&seal.generation, header.data() + 16, 8);
  std::memcpy(&seal.commits, header.data() + 24, 8);
  return seal;
}

class SealFile {
 public:
  explicit SealFile(const std::filesystem::path& path, int flags = O_RDWR | O_CREAT)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}

  SealFile(const SealFile&) = delete;
  SealFile& operator=(const SealFile&) = delete;

  ~SealFile() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }

  bool write(std::size_t offset, std::span<const std::uint8_t> bytes) const {
    return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(bytes.size());
  }

  bool read(std::size_t offset, std::span<std::uint8_t> bytes) const {
    return ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(bytes.size());
  }

  // Negative: nobody knows.
  std::int64_t size() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 ? status.st_size : -1;
  }

  bool resize(std::size_t size) const { return ::ftruncate(fd_, static_cast<off_t>(size)) == 0; }

  bool sync() const { return ::fdatasync(fd_) == 0; }

  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::size_t entry_offset(std::size_t page) {
  return kHeaderBytes + (page - 1) * sizeof(Digest);
}

}  // namespace

std::filesystem::path seal_path(const std::filesystem::path& database) {
  return database.string() + ".seal";
}

namespace {

constexpr std::size_t kMaxDamageBytes = std::size_t{1} << 20;

std::filesystem::path damage_path(const std::filesystem::path& database) {
  return database.string() + ".damage";
}

}  // namespace

namespace {

std::unexpected<Error> damaged_seal(const std::filesystem::path& path) {
  return fail_param(
      path.string(),
      fmt::format("the seal {} is damaged, so the database cannot be checked against it",
                  path.string()),
      ErrorCode::kDataLoss);
}

// nullopt: an empty file, which is as good as none.
Result<std::optional<SealHeader>> read_header(const SealFile& file,
                                              const std::filesystem::path& path) {
  const std::int64_t size = file.size();
  if (size == 0) {
    return std::nullopt;
  }
  Header header{};
  if (!file.read(0, header)) {
    return damaged_seal(path);
  }
  const SealHeader seal = decode(header);
  if (seal.page_count == 0 || encode(seal) != header ||
      size < static_cast<std::int64_t>(entry_offset(std::size_t{seal.page_count} + 1))) {
    return damaged_seal(path);
  }
  return seal;
}

}  // namespace

Result<std::optional<SealHeader>> load_seal_header(const std::filesystem::path& database) {
  const std::filesystem::path path = seal_path(database);
  const SealFile file(path, O_RDONLY);
  if (!file.open() && errno == ENOENT) {
    return std::nullopt;
  }
  return read_header(file, path);
}

Result<std::optional<Seal>> load_seal(const std::filesystem::path& database) {
  const std::filesystem::path path = seal_path(database);
  const SealFile file(path, O_RDONLY);
  if (!file.open() && errno == ENOENT) {
    return std::nullopt;
  }
  GENESIS_TRY(const auto header, read_header(file, path));
  if (!header) {
    return std::nullopt;
  }
  Seal seal{.header = *header, .pages = std::vector<Digest>(header->page_count)};
  const std::span<std::uint8_t> bytes(seal.pages.front().data(),
                                      seal.pages.size() * sizeof(Digest));
  if (!file.read(kHeaderBytes, bytes)) {
    return damaged_seal(path);
  }
  return seal;
}

Result<void> save_seal(const std::filesystem::path& database,
                       const SealHeader& header,
                       std::span<const SealedPage> changed) {
  const std::filesystem::path path = seal_path(database);
  // A first seal gets its name only when it is whole: dying before that leaves none, not half a
  // one.
  std::error_code error;
  const bool fresh = !std::filesystem::exists(path, error);
  const std::filesystem::path written = fresh ? path.string() + ".new" : path.string();
  const SealFile file(written);
  bool good = file.open() && file.resize(entry_offset(std::size_t{header.page_count} + 1));
  for (const SealedPage& page : changed) {
    good = good && file.write(entry_offset(page.number), page.digest);
  }
  // Entries before the header: a reader takes a new header for a promise about all entries.
  good = good && file.sync() && file.write(0, encode(header)) && file.sync();
  if (good && fresh) {
    std::filesystem::rename(written, path, error);
    good = !error;
  }
  if (!good) {
    return fail_param(
        path.string(),
        fmt::format("cannot write {}: {}", path.string(), std::generic_category().message(errno)),
        ErrorCode::kIo);
  }
  return {};
}

Result<Digest> hash_page(const SqliteConnection& connection,
                         std::uint32_t number,
                         std::uint32_t page_size) {
  std::vector<std::uint8_t> page(page_size);
  const std::int64_t offset = static_cast<std::int64_t>(number - 1) * page_size;
  GENESIS_TRY_VOID(connection.read_file(offset, page));
  Sha256 hash;
  hash.update(std::span<const std::uint8_t>(page));
  return hash.finish();
}

Result<void> note_damage(const std::filesystem::path& database, std::string_view what) {
  const std::string when = format_rfc3339(SystemClock().unix_ms());
  return write_file_atomic(damage_path(database), fmt::format("{} {}\n", when, what), 0600);
}

Result<std::string> noted_damage(const std::filesystem::path& database) {
  auto text = read_file(damage_path(database), kMaxDamageBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return std::string();
  }
  GENESIS_TRY(const std::string found, std::move(text));
  return found.substr(0, found.find('\n'));
}

}  // namespace genesis::store
