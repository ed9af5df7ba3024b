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
    fill_attention_scalar(table.attention);
    fill_adapter_scalar(table.adapter);
    return table;
  }();
#ifdef GENESIS_KERNEL_AVX2
  static const Kernels kAvx2 = [] {
    Kernels table{};
    table.linear = linear_avx2;
    fill_rows_avx2(table);
    fill_attention_avx2(table.attention);
    fill_adapter_avx2(table.adapter);
    return table;
  }();
  if (tier == Tier::kAvx2) {
    return kAvx2;
  }
  static const Kernels kAvx512Vnni = [] {
    Kernels table = kAvx2;
    fill_linear_avx512(table);
    fill_rows_avx512(table);
    fill_attention_avx512(table.attention);
    fill_adapter_avx512(table.adapter);
    return table;
  }();
  if (tier == Tier::kAvx512Vnni) {
    return kAvx512Vnni;
  }
  static const Kernels kAmx = [] {
    Kernels table = kAvx512Vnni;
    fill_linear_amx(table);
    return table;
  }();
  if (tier == Tier::kAmx) {
    return kAmx;
  }
#endif
  GENESIS_CHECK(tier == Tier::kScalar);
  return kScalar;
}

}  // namespace genesis::kernel
