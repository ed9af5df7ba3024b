#include "app/child_process.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace genesis::app {

namespace {

// Between fork and exec only async-signal-safe calls are allowed: everything is prepared before.
[[noreturn]] void become(const char* program,
                         char* const* argv,
                         std::int64_t memory_bytes,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127);  // the parent died before the line above could take effect
  }
  if (memory_bytes > 0) {
    rlimit limit{};
    limit.rlim_cur = static_cast<rlim_t>(memory_bytes);
    limit.rlim_max = limit.rlim_cur;
    ::setrlimit(RLIMIT_AS, &limit);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe): one thread here
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  ::syscall(SYS_close_range, 3U, ~0U, 0U);
  ::execv(program, argv);
  ::_exit(127);
}

}  // namespace

struct ChildProcess::Watch {
  explicit Watch(const Executor& executor, int fd) : pidfd(executor, fd) {}

  boost::asio::posix::stream_descriptor pidfd;
};

std::string ChildExit::to_string() const {
  return signal != 0 ? fmt::format("killed by signal {}", signal)
                     : fmt::format("exit status {}", code);
}

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(Executor executor,
                                                          const ChildOptions& options) {
  std::vector<std::string> words = options.arguments;
  words.insert(words.begin(), options.program);
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    become(options.program.c_str(), argv.data(), options.memory_bytes, parent);
  }
  const auto os_error = [&](const char* what) {
    return fail(
        ErrorCode::kResourceExhausted,
        fmt::format(
            "cannot {} {}: {}", what, options.program, std::generic_category().message(errno)));
  };
  if (pid < 0) {
    return os_error("start");
  }
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U));
  if (fd < 0) {
    auto error = os_error("watch");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return error;
  }
  return std::unique_ptr<ChildProcess>(
      new ChildProcess(pid, std::make_unique<Watch>(executor, fd)));
}

ChildProcess::ChildProcess(pid_t pid, std::unique_ptr<Watch> watch)
    : pid_(pid), watch_(std::move(watch)) {}

ChildProcess::~ChildProcess() {
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void ChildProcess::send_signal(int signal) {
  if (!reaped_) {
    ::kill(pid_, signal);
  }
}

Task<ChildExit> ChildProcess::wait() {
  using boost::asio::posix::stream_descriptor;
  co_await watch_->pidfd.async_wait(stream_descriptor::wait_read,
                                    boost::asio::as_tuple(boost::asio::use_awaitable));
  int status = 0;
  ::waitpid(pid_, &status, 0);
  reaped_ = true;
  if (WIFSIGNALED(status)) {
    co_return ChildExit{.code = 0, .signal = WTERMSIG(status)};
  }
  co_return ChildExit{.code = WEXITSTATUS(status), .signal = 0};
}

}  // namespace genesis::app
