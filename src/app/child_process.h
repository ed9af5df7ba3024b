// ChildProcess: one program started by us that never outlives us. Linux only (pidfd, PDEATHSIG).
#pragma once

#include "base/result.h"
#include "base/task.h"

#include <cstdint>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace genesis::app {

struct ChildOptions {
  std::string program;                 // absolute path
  std::vector<std::string> arguments;  // without argv[0]
  std::int64_t memory_bytes = 0;       // RLIMIT_AS; 0 = no cap
};

// How a child ended.
struct ChildExit {
  int code = 0;  // exit status, when signal is 0
  int signal = 0;

  std::string to_string() const;
};

// Lives on the io thread. Destroying a running child kills it. Its standard output goes to our
// standard error, so that our own output stays machine-readable; other descriptors are closed.
class ChildProcess {
 public:
  static Result<std::unique_ptr<ChildProcess>> start(Executor executor,
                                                     const ChildOptions& options);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }

  void send_signal(int signal);
  // Returns when the child is gone; call it once.
  Task<ChildExit> wait();

 private:
  struct Watch;
  ChildProcess(pid_t pid, std::unique_ptr<Watch> watch);

  pid_t pid_;
  bool reaped_ = false;
  std::unique_ptr<Watch> watch_;
};

}  // namespace genesis::app
