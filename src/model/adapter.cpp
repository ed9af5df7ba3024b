#include "model/adapter.h"

#include "base/file.h"
#include "base/sha256.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <span>
#include <system_error>
#include <utility>

namespace genesis::model {
namespace {

using weights::TensorFile;
using weights::TensorView;

constexpr std::size_t kMaxConfigBytes = 1U << 20;
// A header names each tensor in about 150 bytes; 14 of them in a block.
constexpr std::uint64_t kHeaderBytesPerBlock = 16 * 1024;
constexpr int kHalfExponent = 14;  // of the largest stored value; binary16 ends below 2^16
constexpr int kMostShift = 60;     // beyond it the values are zero for any purpose
constexpr std::size_t kAlign = 64;

std::unexpected<Error> damaged(std::string tensor, std::string message) {
  message = fmt::format("adapter_model.safetensors: {}: {}", tensor, message);
  return fail_param(std::move(tensor), std::move(message), ErrorCode::kDataLoss);
}

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

// One linear layer to build: its name, its shape and where it goes.
struct Job {
  std::string module;
  LowRank what;
  AdapterMatrices* target;
  std::int32_t all_outputs = 0;   // of the stored B
  std::int32_t first_output = 0;  // of this layer's rows in it
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
  std::size_t a_at = 0;  // in the adapter's memory
  std::size_t b_at = 0;
};

std::pair<std::int32_t, std::int32_t> inputs_outputs(Linear linear, const ModelSpec& spec) {
  switch (linear) {
    case Linear::kQ:
      return {spec.hidden, spec.query_size()};
    case Linear::kK:
    case Linear::kV:
      return {spec.hidden, spec.kv_size()};
    case Linear::kO:
      return {spec.query_size(), spec.hidden};
    case Linear::kGate:
    case Linear::kUp:
      return {spec.hidden, spec.mlp};
    case Linear::kDown:
      return {spec.mlp, spec.hidden};
  }
  return {};
}

// Where a linear layer's outputs lie among those of the module that is stored.
struct Place {
  std::int32_t first;
  std::int32_t all;
};

Place place_of(Linear linear, const ModelSpec& spec) {
  const std::int32_t q = spec.query_size();
  const std::int32_t kv = spec.kv_size();
  const std::int32_t heads = q + 2 * kv;
  if (spec.fused) {
    switch (linear) {
      case Linear::kQ:
        return {0, heads};
      case Linear::kK:
        return {q, heads};
      case Linear::kV:
        return {q + kv, heads};
      case Linear::kGate:
        return {0, 2 * spec.mlp};
      case Linear::kUp:
        return {spec.mlp, 2 * spec.mlp};
      default:
        break;
    }
  }
  return {0, inputs_outputs(linear, spec).second};
}

// Writes matrices into blocks of 16 outputs.
class Packer {
 public:
  Packer(bool half, std::uint8_t* memory) : half_(half), memory_(memory) {}

  // Returns the exponent by which stored values are larger than the true ones.
  int exponent_for(std::span<const float> values) const {
    float largest = 0.0F;
    for (const float v : values) {
      largest = std::max(largest, std::abs(v));
    }
    if (!half_ || largest == 0.0F) {
      return 0;
    }
    return std::clamp(kHalfExponent - std::ilogb(largest), -kMostShift, kMostShift);
  }

  void put(std::size_t at, std::size_t index, float value, int exponent) const {
    if (half_) {
      const std::uint16_t half = weights::float_to_half(std::ldexp(value, exponent));
      std::memcpy(memory_ + at + index * sizeof(half), &half, sizeof(half));
    } else {
      std::memcpy(memory_ + at + index * sizeof(value), &value, sizeof(value));
    }
  }

 private:
  bool half_;
  std::uint8_t* memory_;
};

class Builder {
 public:
  Builder(const TensorFile& file, const ModelSpec& spec, bool fp32)
      : file_(file), spec_(spec), half_(!fp32) {}

  Result<std::shared_ptr<const Adapter>> build(AdapterConfig config) {
    auto adapter = std::make_shared<Adapter>();
    adapter->half = half_;
    adapter->invocation = std::move(config.invocation);
    adapter->layers.resize(size(spec_.layers));
    list_jobs(config, *adapter);
    GENESIS_TRY_VOID(find_tensors());
    plan_memory();
    GENESIS_TRY(adapter->memory, MemoryRegion::allocate(bytes_, "an adapter"));
    Sha256 hash;
    hash.update("genesis adapter 1\n");
    for (const std::int32_t token : adapter->invocation) {
      hash.update(fmt::format("invocation {}\n", token));
    }
    for (const Job& job : jobs_) {
      GENESIS_TRY_VOID(pack(job, adapter->memory.data(), hash));
      adapter->max_rank = std::max(adapter->max_rank, job.what.rank);
    }
    adapter->content_hash = to_hex(hash.finish());
    return adapter;
  }

 private:
  void list_jobs(const AdapterConfig& config, Adapter& adapter) {
    const auto add = [&](Job job, std::pair<std::int32_t, std::int32_t> shape) {
      if (job.what.rank > 0) {
        job.target->rank = job.what.rank;
        std::tie(job.target->inputs, job.target->outputs) = shape;
        jobs_.push_back(std::move(job));
      }
    };
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
      for (std::size_t l = 0; l < kLinears; ++l) {
        const auto linear = static_cast<Linear>(l);
        const Place place = place_of(linear, spec_);
        add({.module =
                 fmt::format("base_model.model.model.layers.{}.{}", i, module_name(linear, spec_)),
             .what = config.layers[i][l],
             .target = &adapter.layers[i][l],
             .all_outputs = place.all,
             .first_output = place.first},
            inputs_outputs(linear, spec_));
      }
    }
    add({.module = "base_model.model.lm_head",
         .what = config.head,
         .target = &adapter.head,
         .all_outputs = spec_.vocab},
        {spec_.hidden, spec_.vocab});
  }

  // Each target must have its pair, and nothing else may be in the file.
  Result<void> find_tensors() {
    std::set<const TensorView*> found;
    for (Job& job : jobs_) {
      GENESIS_TRY(job.a, find(job.module + ".lora_A.weight", job.what.rank, job.target->inputs));
      GENESIS_TRY(job.b, find(job.module + ".lora_B.weight", job.all_outputs, job.what.rank));
      found.insert({job.a, job.b});
    }
    if (found.size() == file_.tensors().size()) {
      return {};
    }
    const auto foreign = std::ranges::find_if(
        file_.tensors(), [&](const TensorView& tensor) { return !found.contains(&tensor); });
    const std::string name = foreign->name.substr(0, 200);
    const bool of_base =
        name.ends_with(".base_layer.weight") || name.ends_with("embed_tokens.weight");
    Error error;
    error.code = ErrorCode::kUnsupported;
    error.param = name;
    error.message = fmt::format(
        "adapter_model.safetensors: {} does not belong to a linear layer that target_modules names",
        name);
    error.hint = of_base ? "save the adapter with save_pretrained(..., save_embedding_layers=False)"
                         : "only the lora_A and lora_B weights of linear layers are served";
    return std::unexpected(std::move(error));
  }

  Result<const TensorView*> find(const std::string& name,
                                 std::int64_t outer,
                                 std::int64_t inner) const {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) {
      return damaged(name, "the tensor is missing");
    }
    if (tensor->type != weights::TensorType::kF32 && tensor->type != weights::TensorType::kF16 &&
        tensor->type != weights::TensorType::kBF16) {
      return damaged(name,
                     fmt::format("{} values: F32, F16 or BF16 are served",
                                 weights::tensor_type_name(tensor->type)));
    }
    if (tensor->shape != std::vector<std::int64_t>{outer, inner}) {
      return damaged(name,
                     fmt::format("shape [{}], the configuration and the model need [{}, {}]",
                                 fmt::join(tensor->shape, ", "),
                                 outer,
                                 inner));
    }
    return tensor;
  }

  void plan_memory() {
    const std::size_t value = half_ ? sizeof(std::uint16_t) : sizeof(float);
    const auto take = [&](std::size_t values) {
      const std::size_t at = bytes_;
      bytes_ += (values * value + kAlign - 1) / kAlign * kAlign;
      return at;
    };
    for (Job& job : jobs_) {
      const AdapterMatrices& m = *job.target;
      const std::size_t panels =
          (size(m.outputs) + kernel::kAdapterBlock - 1) / kernel::kAdapterBlock;
      job.a_at = take(size(m.padded_rank()) * size(m.inputs));
      job.b_at = take(panels * kernel::kAdapterBlock * size(m.rank));
    }
  }

  Result<void> pack(const Job& job, std::uint8_t* memory, Sha256& hash) const {
    AdapterMatrices& m = *job.target;
    const Packer packer(half_, memory);
    hash.update(fmt::format("{} {} {:a}\n", job.module, m.rank, job.what.scale));
    GENESIS_TRY(const std::vector<float> a, values_of(*job.a, hash));
    GENESIS_TRY(const std::vector<float> all_b, values_of(*job.b, hash));
    const std::span<const float> b = std::span(all_b).subspan(size(job.first_output) * size(m.rank),
                                                              size(m.outputs) * size(m.rank));
    const int a_exponent = packer.exponent_for(a);
    const int b_exponent = packer.exponent_for(b);
    constexpr std::size_t kBlock = kernel::kAdapterBlock;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::size_t j = i / size(m.inputs);
      const std::size_t k = i % size(m.inputs);
      packer.put(
          job.a_at, (j / kBlock * size(m.inputs) + k) * kBlock + j % kBlock, a[i], a_exponent);
    }
    for (std::size_t i = 0; i < b.size(); ++i) {
      const std::size_t n = i / size(m.rank);
      const std::size_t d = i % size(m.rank);
      packer.put(job.b_at, (n / kBlock * size(m.rank) + d) * kBlock + n % kBlock, b[i], b_exponent);
    }
    m.a = memory + job.a_at;
    m.b = memory + job.b_at;
    m.scale = static_cast<float>(std::ldexp(job.what.scale, -a_exponent - b_exponent));
    return {};
  }

  static Result<std::vector<float>> values_of(const TensorView& tensor, Sha256& hash) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    GENESIS_TRY_VOID(weights::dequantize(tensor.type, tensor.data, values));
    if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
      return damaged(tensor.name, "a value is not finite");
    }
    hash.update(std::span(reinterpret_cast<const std::uint8_t*>(values.data()),
                          values.size() * sizeof(float)));
    return values;
  }

  const TensorFile& file_;
  const ModelSpec& spec_;
  bool half_;
  std::vector<Job> jobs_;
  std::size_t bytes_ = 0;
};

// Largest size that adapter_model.safetensors of this model can have: every layer at full rank as
// floats, copies of the embeddings (which get an error of their own) and a generous header.
std::uint64_t largest_file(const ModelSpec& spec) {
  std::uint64_t values = size(spec.hidden) + size(spec.vocab);
  for (std::size_t l = 0; l < kLinears; ++l) {
    const auto [inputs, outputs] = inputs_outputs(static_cast<Linear>(l), spec);
    values += size(spec.layers) * (size(inputs) + size(outputs));
  }
  values = values * size(kMaxAdapterRank) + 2 * size(spec.vocab) * size(spec.hidden);
  return values * sizeof(float) + (size(spec.layers) + 1) * kHeaderBytesPerBlock;
}

Result<void> check_size(std::span<const std::uint8_t> bytes, const ModelSpec& spec) {
  if (const std::uint64_t most = largest_file(spec); bytes.size() > most) {
    return fail_param(
        "adapter_model.safetensors",
        fmt::format("adapter_model.safetensors has {} bytes; an adapter of this model "
                    "of rank {} has at most {}",
                    bytes.size(),
                    kMaxAdapterRank,
                    most),
        ErrorCode::kPayloadTooLarge);
  }
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof(header)));
  if (const std::uint64_t most = (size(spec.layers) + 1) * kHeaderBytesPerBlock; header > most) {
    return fail_param("adapter_model.safetensors",
                      fmt::format("adapter_model.safetensors: a header of {} bytes; at most {} for "
                                  "an adapter of this model",
                                  header,
                                  most),
                      ErrorCode::kPayloadTooLarge);
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Adapter>> build_adapter(std::string_view config_json,
                                                     const TensorFile& file,
                                                     const ModelSpec& spec,
                                                     bool fp32) {
  if (file.format() != "safetensors") {
    return fail(ErrorCode::kUnsupported, "adapters are read from safetensors files only");
  }
  GENESIS_TRY(AdapterConfig config, parse_adapter_config(config_json, spec));
  return Builder(file, spec, fp32).build(std::move(config));
}

Result<std::shared_ptr<const Adapter>> read_adapter(const std::filesystem::path& folder,
                                                    const ModelSpec& spec,
                                                    bool fp32) {
  std::error_code error;
  const std::filesystem::path weights = folder / "adapter_model.safetensors";
  if (!std::filesystem::exists(weights, error) &&
      std::filesystem::exists(folder / "adapter_model.bin", error)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} holds a pickled adapter_model.bin", folder.string()),
                "save it again with save_pretrained(..., safe_serialization=True)");
  }
  GENESIS_TRY(const std::string config, read_file(folder / "adapter_config.json", kMaxConfigBytes));
  GENESIS_TRY(const MappedFile mapping, MappedFile::open(weights));
  GENESIS_TRY_VOID(check_size(mapping.bytes(), spec));
  auto file = TensorFile::from_bytes(mapping.bytes());
  if (!file) {
    Error told = file.error();
    told.message = "adapter_model.safetensors: " + told.message;
    return std::unexpected(std::move(told));
  }
  return build_adapter(config, **file, spec, fp32);
}

}  // namespace genesis::model
