#include "app/descriptors.h"

#include <algorithm>
#include <sys/resource.h>

namespace genesis::app {

namespace {

// Databases with their logs, sockets of engines, log files, and a margin.
constexpr std::size_t kOwnDescriptors = 256;
constexpr std::size_t kFewestConnections = 16;

}  // namespace

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 1024;
  }
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  const bool raised = ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  return static_cast<std::size_t>(raised ? limit.rlim_max : before);
}

std::size_t connections_within(std::size_t descriptors) {
  const std::size_t left = descriptors > kOwnDescriptors ? descriptors - kOwnDescriptors : 0;
  return std::max(left / 2, kFewestConnections);
}

}  // namespace genesis::app
