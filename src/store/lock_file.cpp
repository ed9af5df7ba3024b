// flock(2) and the holder's process id.
#include "store/lock_file.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace genesis::store {

Result<LockFile> LockFile::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return fail_param(
        path.string(),
        fmt::format("cannot open {}: {}", path.string(), std::generic_category().message(errno)),
        ErrorCode::kIo);
  }
  return LockFile(fd);
}

LockFile::LockFile(LockFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

LockFile& LockFile::operator=(LockFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

LockFile::~LockFile() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

bool LockFile::try_lock() {
  return ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
}

void LockFile::lock() {
  while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

void LockFile::unlock() {
  ::flock(fd_, LOCK_UN);
}

long LockFile::holder() const {
  std::array<char, 32> text{};
  const ssize_t n = ::pread(fd_, text.data(), text.size(), 0);
  long pid = 0;
  if (n > 0) {
    std::from_chars(text.data(), text.data() + n, pid);
  }
  return pid;
}

void LockFile::write_holder() {
  const std::string text = fmt::format("{}\n", ::getpid());
  // Only a message depends on it, so a failure changes nothing.
  if (::ftruncate(fd_, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(fd_, text.data(), text.size(), 0);
  }
}

}  // namespace genesis::store
