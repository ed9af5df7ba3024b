// Builds the table of kernels of each tier.
#include "kernel/kernels.h"

#include "base/check.h"
#include "kernel/tier_tables.h"

namespace genesis::kernel {

const Kernels& kernels_of(Tier tier) {
  static const Kernels kScalar = [] {
    Kernels table{};
    table.linear = linear_scalar;
    fill_rows_scalar(table);
    return table;
  }();
#ifdef GENESIS_KERNEL_AVX2
  static const Kernels kAvx2 = [] {
    Kernels table{};
    table.linear = linear_avx2;
    fill_rows_avx2(table);
    return table;
  }();
  if (tier == Tier::kAvx2) {
    return kAvx2;
  }
#endif
  GENESIS_CHECK(tier == Tier::kScalar);
  return kScalar;
}

}  // namespace genesis::kernel
