// Where the files of each tier hand in their functions; private to this room.
#pragma once

#include "kernel/kernels.h"

namespace genesis::kernel {

void linear_scalar(const LinearCall& call);
void fill_rows_scalar(Kernels& table);
void linear_avx2(const LinearCall& call);
void fill_rows_avx2(Kernels& table);

}  // namespace genesis::kernel
