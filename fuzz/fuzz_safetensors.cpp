// Fuzz target: any bytes as a weights file; the corpus steers it into the safetensors reader.
#include "weights_promises.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  genesis::weights::check_promises({data, size});
  return 0;
}
