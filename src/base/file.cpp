#include "base/file.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace genesis {

namespace {

// Closes its descriptor; -1 is empty.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}

  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  ~Descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }

  int get() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<Error> io_error(std::string_view what, const std::filesystem::path& path) {
  const int code = errno;
  const ErrorCode kind = code == ENOENT                     ? ErrorCode::kNotFound
                         : code == ENOSPC || code == EDQUOT ? ErrorCode::kResourceExhausted
                                                            : ErrorCode::kIo;
  return fail_param(
      path.string(),
      fmt::format("cannot {} {}: {}", what, path.string(), std::generic_category().message(code)),
      kind);
}

Result<void> write_all(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return io_error("write", path);
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) {
    return io_error("sync folder", folder);
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) {
    return io_error("open", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return fail_param(path.string(), fmt::format("{} is not a regular file", path.string()));
  }
  if (std::cmp_greater(info.st_size, limit)) {
    return fail_param(
        path.string(),
        fmt::format(
            "{} has {} bytes, more than the {} allowed", path.string(), info.st_size, limit),
        ErrorCode::kPayloadTooLarge);
  }
  std::string content(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return io_error("read", path);
    }
    if (n == 0) {
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

Result<void> write_file_atomic(const std::filesystem::path& path,
                               std::string_view content,
                               unsigned mode) {
  const std::filesystem::path temp = fmt::format("{}.tmp{}", path.string(), ::getpid());
  {
    const Descriptor fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (fd.get() < 0) {
      return io_error("create", temp);
    }
    GENESIS_TRY_VOID(write_all(fd.get(), content, temp));
    if (::fsync(fd.get()) != 0) {
      return io_error("sync", temp);
    }
  }
  return rename_file(temp, path);
}

Result<void> rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return io_error("rename to", to);
  }
  return sync_folder(to.has_parent_path() ? to.parent_path() : ".");
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) {
    return io_error("open", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return fail_param(path.string(), fmt::format("{} is not a regular file", path.string()));
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    return MappedFile(nullptr, 0);
  }
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) {
    return io_error("map", path);
  }
  return MappedFile(static_cast<const std::uint8_t*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::uint8_t*>(data_), size_);
  }
}

}  // namespace genesis
