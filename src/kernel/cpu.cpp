// Processor features by CPUID (Intel SDM volume 2A, CPUID and XGETBV) and core counting by sysfs.
#include "kernel/cpu.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sched.h>
#include <set>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace genesis::kernel {
namespace {

constexpr std::array kAll = {Tier::kScalar, Tier::kAvx2, Tier::kAvx512Vnni, Tier::kAmx};

#if defined(__x86_64__)
// XCR0: bits 1 and 2 the xmm and ymm registers, 5 to 7 the mask and zmm registers.
constexpr unsigned kSavesYmm = 0x06U;
constexpr unsigned kSavesZmm = 0xE6U;
// Bits 17 and 18: the tiles' configuration and data.
constexpr unsigned kSavesTiles = 0x600E6U;

bool operating_system_saves(unsigned registers) {
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & registers) == registers;
}

// Linux gives tiles only to a process that has asked for them (asm/prctl.h; XTILEDATA is component
// 18 of the extended state). All its threads have them from then on.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr unsigned long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool machine_has(Tier tier) {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (tier == Tier::kScalar) {
    return true;
  }
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) {
    return false;
  }
  constexpr unsigned kNeeded = bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C;
  if ((c & kNeeded) != kNeeded || !operating_system_saves(kSavesYmm) ||
      __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_AVX2) == 0) {
    return false;
  }
  if (tier == Tier::kAvx2) {
    return true;
  }
  constexpr unsigned kWide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  if ((b & kWide) != kWide || (c & bit_AVX512VNNI) == 0 || !operating_system_saves(kSavesZmm)) {
    return false;
  }
  if (tier == Tier::kAvx512Vnni) {
    return true;
  }
  constexpr unsigned kTiles = bit_AMXTILE | bit_AMXINT8;
  return (d & kTiles) == kTiles && operating_system_saves(kSavesTiles) && may_use_tiles();
}
#else
bool machine_has(Tier tier) {
  return tier == Tier::kScalar;
}
#endif

std::string_view needs_of(Tier tier) {
  switch (tier) {
    case Tier::kScalar:
      break;
    case Tier::kAvx2:
      return "AVX2 with FMA and F16C";
    case Tier::kAvx512Vnni:
      return "AVX-512 F, BW, DQ, VL and VNNI";
    case Tier::kAmx:
      return "AMX tiles with int8, or its kernel does not give them to processes";
  }
  return "";
}

}  // namespace

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::kScalar:
      return "scalar";
    case Tier::kAvx2:
      return "avx2";
    case Tier::kAvx512Vnni:
      return "avx512vnni";
    case Tier::kAmx:
      return "amx";
  }
  return "scalar";
}

std::vector<Tier> usable_tiers() {
  std::vector<Tier> usable;
  std::ranges::copy_if(kAll, std::back_inserter(usable), machine_has);
  return usable;
}

Tier best_tier() {
  return usable_tiers().back();
}

Result<Tier> choose_tier(std::string_view name) {
  if (name.empty()) {
    return best_tier();
  }
  std::string known;
  for (const Tier tier : kAll) {
    if (name != tier_name(tier)) {
      known += (known.empty() ? "" : ", ") + std::string(tier_name(tier));
      continue;
    }
    if (!machine_has(tier)) {
      return fail_param("isa",
                        "this machine has no " + std::string(needs_of(tier)) + "; use isa = \"" +
                            std::string(tier_name(best_tier())) + "\"",
                        ErrorCode::kUnsupported);
    }
    return tier;
  }
  return fail_param("isa", "unknown instruction set '" + std::string(name) + "'; known: " + known);
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
