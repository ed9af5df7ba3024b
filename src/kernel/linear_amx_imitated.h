// The AMX tier's linear layers without AMX; for tests. Needs a machine with the AVX-512-VNNI tier.
#pragma once

#include "kernel/kernels.h"

namespace genesis::kernel {

void linear_amx_imitated(const LinearCall& call);

}  // namespace genesis::kernel
