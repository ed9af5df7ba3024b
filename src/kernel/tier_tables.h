// Where the files of each tier hand in their functions; private to this room.
#pragma once

#include "kernel/kernels.h"

namespace genesis::kernel {

void linear_scalar(const LinearCall& call);
void fill_rows_scalar(Kernels& table);
void fill_attention_scalar(AttentionKernels& table);
void fill_adapter_scalar(AdapterKernels& table);
void linear_avx2(const LinearCall& call);
void fill_rows_avx2(Kernels& table);
void quantize_avx2(const float* x, int count, const QuantizedRows& out);
void fill_attention_avx2(AttentionKernels& table);
void fill_adapter_avx2(AdapterKernels& table);
// What has a faster form with AVX-512-VNNI; the rest of the table stays.
void linear_avx512(const LinearCall& call);
void fill_linear_avx512(Kernels& table);
void fill_rows_avx512(Kernels& table);
void fill_attention_avx512(AttentionKernels& table);
void fill_adapter_avx512(AdapterKernels& table);
// The same with AMX beside it.
void fill_linear_amx(Kernels& table);

}  // namespace genesis::kernel
