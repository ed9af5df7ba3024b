// Processor features by CPUID (Intel SDM volume 2A, CPUID and XGETBV) and core counting by sysfs.
#include "kernel/cpu.h"

#include <algorithm>
#include <fstream>
#include <sched.h>
#include <set>
#include <string>
#include <thread>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace genesis::kernel {
namespace {

#if defined(__x86_64__)
bool operating_system_saves_ymm() {
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 0x6U) == 0x6U;
}

bool has_avx2() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) {
    return false;
  }
  constexpr unsigned kNeeded = bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C;
  if ((c & kNeeded) != kNeeded || !operating_system_saves_ymm()) {
    return false;
  }
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_AVX2) != 0;
}
#else
bool has_avx2() {
  return false;
}
#endif

}  // namespace

std::string_view tier_name(Tier tier) {
  return tier == Tier::kAvx2 ? "avx2" : "scalar";
}

Tier best_tier() {
  return has_avx2() ? Tier::kAvx2 : Tier::kScalar;
}

Result<Tier> choose_tier(std::string_view name) {
  if (name.empty()) {
    return best_tier();
  }
  if (name == "scalar") {
    return Tier::kScalar;
  }
  if (name != "avx2") {
    return fail_param("isa",
                      "unknown instruction set '" + std::string(name) + "'; known: scalar, avx2");
  }
  if (!has_avx2()) {
    return fail_param("isa",
                      "this machine has no AVX2 with FMA and F16C; use isa = \"scalar\"",
                      ErrorCode::kUnsupported);
  }
  return Tier::kAvx2;
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) {
      continue;
    }
    // Hyper-threads of one core list the same siblings.
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    std::getline(file, siblings);
    cores.insert(siblings.empty() ? "cpu" + std::to_string(cpu) : siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace genesis::kernel
