// Implementation over POSIX calls; every errno becomes an Error that names the path.
#include "hub/disk.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace genesis::hub {

namespace {

std::unexpected<Error> io_error(std::string_view what,
                                const std::filesystem::path& path,
                                const std::error_code& code) {
  const bool full = code == std::errc::no_space_on_device || code.value() == EDQUOT;
  const ErrorCode kind = full ? ErrorCode::kResourceExhausted
                         : code == std::errc::no_such_file_or_directory ? ErrorCode::kNotFound
                                                                        : ErrorCode::kIo;
  auto error = fail_param(
      path.string(), fmt::format("cannot {} {}: {}", what, path.string(), code.message()), kind);
  error.error().hint =
      full ? "free some disk space, then run the same command: it goes on where it stopped" : "";
  return error;
}

std::unexpected<Error> io_error(std::string_view what, const std::filesystem::path& path) {
  return io_error(what, path, std::error_code(errno, std::generic_category()));
}

void close_descriptor(int fd) {
  if (fd >= 0) {
    ::close(fd);
  }
}

Result<int> open_lock(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return io_error("open the lock", path);
  }
  return fd;
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::filesystem::path& path, bool truncate) {
  const int flags =
      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (truncate ? O_TRUNC : 0);
  const int fd = ::open(path.c_str(), flags, 0600);
  struct stat info{};
  if (fd < 0 || ::fstat(fd, &info) != 0) {
    auto error = io_error("create", path);
    close_descriptor(fd);
    return error;
  }
  return OutputFile(fd, info.st_size, path);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

OutputFile::~OutputFile() {
  close_descriptor(fd_);
}

Result<void> OutputFile::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return io_error("write", path_);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    size_ += n;
  }
  return {};
}

Result<void> OutputFile::clear() {
  if (::ftruncate(fd_, 0) != 0) {
    return io_error("empty", path_);
  }
  size_ = 0;
  return {};
}

Result<void> OutputFile::sync() {
  if (::fsync(fd_) != 0) {
    return io_error("sync", path_);
  }
  return {};
}

Result<FileLock> FileLock::wait(const std::filesystem::path& path) {
  GENESIS_TRY(const int fd, open_lock(path));
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) {
      auto error = io_error("lock", path);
      close_descriptor(fd);
      return error;
    }
  }
  return FileLock(fd);
}

Result<std::optional<FileLock>> FileLock::attempt(const std::filesystem::path& path) {
  GENESIS_TRY(const int fd, open_lock(path));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return std::optional(FileLock(fd));
  }
  const bool held = errno == EWOULDBLOCK;
  auto error = io_error("lock", path);
  close_descriptor(fd);
  if (held) {
    return std::nullopt;
  }
  return error;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  close_descriptor(fd_);
}

Result<void> make_folders(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) {
    return io_error("create", path, code);
  }
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool done = fd >= 0 && ::fsync(fd) == 0;
  auto error = done ? Result<void>{} : Result<void>(io_error("sync", folder));
  close_descriptor(fd);
  return error;
}

Result<void> rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return io_error("move a file to", to);
  }
  return {};
}

Result<void> link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code code;
  std::filesystem::create_hard_link(from, to, code);
  return code ? copy_durably(from, to) : Result<void>{};
}

Result<void> copy_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code code;
  std::filesystem::copy_file(from, to, code);
  if (code) {
    std::error_code ignored;
    std::filesystem::remove(to, ignored);  // half a file only keeps a full disk full
    return io_error("copy to", to, code);
  }
  GENESIS_TRY(auto copy, OutputFile::open(to, false));
  return copy.sync();
}

Result<std::int64_t> feed_file(const std::filesystem::path& path, Sha256& hash) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return io_error("open", path);
  }
  std::vector<std::uint8_t> buffer(1024 * 1024);
  std::int64_t total = 0;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      auto error = io_error("read", path);
      close_descriptor(fd);
      return error;
    }
    if (n == 0) {
      break;
    }
    hash.update(std::span(buffer).first(static_cast<std::size_t>(n)));
    total += n;
  }
  close_descriptor(fd);
  return total;
}

Result<HashedFile> hash_file(const std::filesystem::path& path) {
  Sha256 hash;
  GENESIS_TRY(const auto bytes, feed_file(path, hash));
  return HashedFile{.sha256 = to_hex(hash.finish()), .bytes = bytes};
}

}  // namespace genesis::hub
