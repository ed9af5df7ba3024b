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
// 32 bytes a page of 4 KiB: a database of 8 TiB.
constexpr std::size_t kMaxSealBytes = std::size_t{64} << 30;

using Header = std::array<std::uint8_t, kHeaderBytes>;

Header encode(const Seal& seal) {
  Header header{};
  const auto pages = static_cast<std::uint32_t>(seal.pages.size());
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(header.data() + 8, &seal.page_size, 4);
  std::memcpy(header.data() + 12, &pages, 4);
  std::memcpy(header.data() + 16, &seal.generation, 8);
  std::memcpy(header.data() + 24, &seal.commits, 8);
  Sha256 hash;
  hash.update(std::span<const std::uint8_t>(header).first(kHashedBytes));
  const Digest digest = hash.finish();
  std::copy_n(digest.begin(), kHeaderBytes - kHashedBytes, header.begin() + kHashedBytes);
  return header;
}

class SealFile {
 public:
  explicit SealFile(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {}

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

Result<std::optional<Seal>> load_seal(const std::filesystem::path& database) {
  const std::filesystem::path path = seal_path(database);
  auto bytes = genesis::read_file(path, kMaxSealBytes);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    return std::nullopt;
  }
  GENESIS_TRY(const std::string content, std::move(bytes));
  if (content.empty()) {
    return std::nullopt;
  }
  Seal seal;
  std::uint32_t pages = 0;
  if (content.size() >= kHeaderBytes) {
    std::memcpy(&seal.page_size, content.data() + 8, 4);
    std::memcpy(&pages, content.data() + 12, 4);
    std::memcpy(&seal.generation, content.data() + 16, 8);
    std::memcpy(&seal.commits, content.data() + 24, 8);
    if ((content.size() - kHeaderBytes) / sizeof(Digest) >= pages) {
      seal.pages.resize(pages);
    }
  }
  if (seal.pages.size() != pages || pages == 0 ||
      std::memcmp(encode(seal).data(), content.data(), kHeaderBytes) != 0) {
    return fail_param(
        path.string(),
        fmt::format("the seal {} is damaged, so the database cannot be checked against it",
                    path.string()),
        ErrorCode::kDataLoss);
  }
  std::memcpy(seal.pages.data(), content.data() + kHeaderBytes, pages * sizeof(Digest));
  return seal;
}

Result<void> save_seal(const std::filesystem::path& database,
                       const Seal& seal,
                       std::span<const std::uint32_t> changed) {
  const std::filesystem::path path = seal_path(database);
  // A first seal gets its name only when it is whole: dying before that leaves none, not half a
  // one.
  std::error_code error;
  const bool fresh = !std::filesystem::exists(path, error);
  const std::filesystem::path written = fresh ? path.string() + ".new" : path.string();
  const SealFile file(written);
  const std::size_t size = kHeaderBytes + seal.pages.size() * sizeof(Digest);
  bool good = file.open() && file.resize(size);
  for (const std::uint32_t page : changed) {
    good = good && file.write(entry_offset(page), seal.pages[page - 1]);
  }
  // Entries before the header: a reader takes a new header for a promise about all entries.
  good = good && file.sync() && file.write(0, encode(seal)) && file.sync();
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
