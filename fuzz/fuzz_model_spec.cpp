// Fuzz target: a GGUF file's metadata, or else any text as config.json, as the description of a
// model; what is accepted must be loadable or name what is wrong.
#include "model/gguf_spec.h"
#include "model/hf_spec.h"
#include "model/model_size.h"
#include "model/model_weights.h"
#include "model/rotary.h"
#include "model/thread_pool.h"
#include "weights/tensor_file.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

using genesis::model::ModelSpec;

// What the executor takes for granted.
void check_promises(const ModelSpec& spec) {
  const bool whole =
      spec.window_layers.empty() || std::ssize(spec.window_layers) == std::ptrdiff_t{spec.layers};
  if (!whole || !genesis::model::check_spec(spec) || genesis::model::parameter_count(spec) <= 0) {
    std::abort();
  }
  genesis::model::Rotary rotary = genesis::model::Rotary::of(spec);
  rotary.resize(1);
  rotary.set(0, spec.max_context);
  for (int i = 0; i < rotary.half(); ++i) {
    if (!std::isfinite(rotary.cos(0)[i]) || !std::isfinite(rotary.sin(0)[i])) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static genesis::model::ThreadPool pool(1);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!text.starts_with("GGUF")) {
    if (const auto spec = genesis::model::spec_from_config(text)) {
      check_promises(*spec);
    }
    return 0;
  }
  const auto file = genesis::weights::TensorFile::from_bytes({data, size});
  if (!file) {
    return 0;
  }
  if (const auto spec = genesis::model::spec_from_gguf(**file)) {
    check_promises(*spec);
    static_cast<void>(genesis::model::load_weights(**file, *spec, {.fp32 = true}, pool));
  }
  return 0;
}
