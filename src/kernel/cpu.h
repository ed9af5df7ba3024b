// Which instruction set tier this machine can run, and the names of the tiers.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace genesis::kernel {

// In rising order of speed. A tier is a table of kernels (kernels.h), all giving the same bits.
enum class Tier : std::uint8_t { kScalar, kAvx2, kAvx512Vnni, kAmx };

std::string_view tier_name(Tier tier);  // "scalar", "avx2", "avx512vnni", "amx"

// All that this machine can run, in rising order; kScalar always.
std::vector<Tier> usable_tiers();

// The best tier that processor, operating system and this build all support.
Tier best_tier();

// "" means best_tier(). kInvalidArgument for an unknown name, kUnsupported for a tier that this
// machine cannot run.
Result<Tier> choose_tier(std::string_view name);

// Physical cores this process may run on (hyper-threads hurt decoding); at least 1.
int physical_cores();

}  // namespace genesis::kernel
