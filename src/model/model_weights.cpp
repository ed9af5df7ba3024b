// Finds, checks and packs the tensors of a Llama-family model under either naming.
#include "model/model_weights.h"

#include "model/packing.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::model {
namespace {

using kernel::Panels;
using weights::TensorFile;
using weights::TensorView;

// Names inside a layer: llama.cpp's gguf-py constants.py; transformers' modeling_llama.py.
struct LayerNames {
  std::string_view attention_norm, q, k, v, o, mlp_norm, gate, up, down;
};

constexpr LayerNames kGgufNames{"attn_norm",
                                "attn_q",
                                "attn_k",
                                "attn_v",
                                "attn_output",
                                "ffn_norm",
                                "ffn_gate",
                                "ffn_up",
                                "ffn_down"};
constexpr LayerNames kHuggingFaceNames{"input_layernorm",
                                       "self_attn.q_proj",
                                       "self_attn.k_proj",
                                       "self_attn.v_proj",
                                       "self_attn.o_proj",
                                       "post_attention_layernorm",
                                       "mlp.gate_proj",
                                       "mlp.up_proj",
                                       "mlp.down_proj"};

// Order that turns adjacent pairs into halves, per head: row i of the first half is row 2i, row i
// of the second is 2i + 1; rows beyond the rotated part stay.
std::vector<std::int32_t> halves_from_adjacent(const ModelSpec& spec, std::int32_t heads) {
  std::vector<std::int32_t> order;
  const std::int32_t half = spec.rotary_dim / 2;
  for (std::int32_t h = 0; h < heads; ++h) {
    for (std::int32_t i = 0; i < spec.head_dim; ++i) {
      const std::int32_t inside = i < half ? 2 * i : i < 2 * half ? 2 * (i - half) + 1 : i;
      order.push_back(h * spec.head_dim + inside);
    }
  }
  return order;
}

class Loader {
 public:
  Loader(const TensorFile& file, const ModelSpec& spec, const PanelPlace& place)
      : file_(file), spec_(spec), place_(place) {}

  Result<ModelWeights> load(ThreadPool& pool) {
    ModelWeights out;
    out.layers.resize(static_cast<std::size_t>(spec_.layers));
    const bool gguf = spec_.naming == TensorNaming::kGguf;
    GENESIS_TRY_VOID(matrix(gguf ? "token_embd.weight" : "model.embed_tokens.weight",
                            spec_.vocab,
                            spec_.hidden,
                            out.embedding));
    if (!spec_.tied_head) {
      GENESIS_TRY_VOID(
          matrix(gguf ? "output.weight" : "lm_head.weight", spec_.vocab, spec_.hidden, out.head));
    }
    GENESIS_TRY_VOID(
        vector(gguf ? "output_norm.weight" : "model.norm.weight", spec_.hidden, out.output_norm));
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
      GENESIS_TRY_VOID(layer(i, out.layers[static_cast<std::size_t>(i)]));
    }
    if (place_.ready != nullptr) {
      GENESIS_TRY_VOID(use_ready());
      out.owner = place_.ready->file;
    } else {
      GENESIS_TRY(out.memory, allocate());
      GENESIS_TRY_VOID(pack(out.memory, pool));
    }
    if (spec_.tied_head) {
      out.head = out.embedding;
    }
    return out;
  }

 private:
  struct Planned {
    PackJob job;
    std::size_t offset;
    Panels* target;  // in the ModelWeights being built, whose vectors no longer grow
  };

  Result<void> layer(std::int32_t index, LayerWeights& out) {
    const bool gguf = spec_.naming == TensorNaming::kGguf;
    const LayerNames& names = gguf ? kGgufNames : kHuggingFaceNames;
    const std::string prefix =
        gguf ? fmt::format("blk.{}.", index) : fmt::format("model.layers.{}.", index);
    const auto weight = [&](std::string_view part) {
      return fmt::format("{}{}.weight", prefix, part);
    };
    const auto bias = [&](std::string_view part) { return fmt::format("{}{}.bias", prefix, part); };
    const bool reorder = spec_.rotary_pairs == RotaryPairs::kAdjacent;
    const auto order = [&](std::int32_t heads) {
      return reorder ? halves_from_adjacent(spec_, heads) : std::vector<std::int32_t>{};
    };
    const std::int32_t q = spec_.query_size();
    const std::int32_t kv = spec_.kv_size();
    GENESIS_TRY_VOID(vector(weight(names.attention_norm), spec_.hidden, out.attention_norm));
    GENESIS_TRY_VOID(vector(weight(names.mlp_norm), spec_.hidden, out.mlp_norm));
    GENESIS_TRY_VOID(matrix(weight(names.q), q, spec_.hidden, out.q, order(spec_.heads)));
    GENESIS_TRY_VOID(matrix(weight(names.k), kv, spec_.hidden, out.k, order(spec_.kv_heads)));
    GENESIS_TRY_VOID(matrix(weight(names.v), kv, spec_.hidden, out.v));
    GENESIS_TRY_VOID(matrix(weight(names.o), spec_.hidden, q, out.o));
    GENESIS_TRY_VOID(matrix(weight(names.gate), spec_.mlp, spec_.hidden, out.gate));
    GENESIS_TRY_VOID(matrix(weight(names.up), spec_.mlp, spec_.hidden, out.up));
    GENESIS_TRY_VOID(matrix(weight(names.down), spec_.hidden, spec_.mlp, out.down));
    if (spec_.attention_bias) {
      GENESIS_TRY_VOID(vector(bias(names.q), q, out.q_bias, order(spec_.heads)));
      GENESIS_TRY_VOID(vector(bias(names.k), kv, out.k_bias, order(spec_.kv_heads)));
      GENESIS_TRY_VOID(vector(bias(names.v), kv, out.v_bias));
    }
    return {};
  }

  Result<const TensorView*> find(std::string_view name, std::span<const std::int64_t> shape) const {
    const TensorView* tensor = file_.find(name);
    if (tensor == nullptr) {
      return fail_param(
          std::string(name), fmt::format("tensor {} is missing", name), ErrorCode::kDataLoss);
    }
    if (!std::ranges::equal(tensor->shape, shape)) {
      return fail_param(std::string(name),
                        fmt::format("tensor {} has shape [{}], the model's description needs [{}]",
                                    name,
                                    fmt::join(tensor->shape, ", "),
                                    fmt::join(shape, ", ")),
                        ErrorCode::kDataLoss);
    }
    return tensor;
  }

  Result<void> matrix(std::string_view name,
                      std::int32_t outputs,
                      std::int32_t inputs,
                      Panels& target,
                      std::vector<std::int32_t> order = {}) {
    GENESIS_TRY(const TensorView* tensor, find(name, std::array<std::int64_t, 2>{outputs, inputs}));
    if (static_cast<std::size_t>(inputs) % weights::block_layout(tensor->type).elements != 0) {
      return fail_param(std::string(name),
                        fmt::format("rows of {} values are not whole {} blocks in tensor {}",
                                    inputs,
                                    weights::tensor_type_name(tensor->type),
                                    name),
                        ErrorCode::kDataLoss);
    }
    const auto ready = ready_format();
    const kernel::Format format = ready ? *ready : packed_format(*tensor, place_.fp32);
    Planned planned{{tensor, std::move(order), format}, bytes_, &target};
    bytes_ += packed_bytes(planned.job.shape());
    panels_ += planned.job.shape().panels();
    planned_.push_back(std::move(planned));
    return {};
  }

  Result<void> vector(std::string_view name,
                      std::int32_t size,
                      std::vector<float>& out,
                      const std::vector<std::int32_t>& order = {}) {
    GENESIS_TRY(const TensorView* tensor, find(name, std::array<std::int64_t, 1>{size}));
    std::vector<float> stored(static_cast<std::size_t>(size));
    GENESIS_TRY_VOID(weights::dequantize(tensor->type, tensor->data, stored));
    out = stored;
    for (std::size_t i = 0; i < order.size(); ++i) {
      out[i] = stored[static_cast<std::size_t>(order[i])];
    }
    return {};
  }

  // The format of the next matrix in the panels that are there; looking at the tensor would read
  // it.
  std::optional<kernel::Format> ready_format() const {
    const std::size_t next = planned_.size();
    return place_.ready != nullptr && next < place_.ready->formats.size()
               ? std::optional(place_.ready->formats[next])
               : std::nullopt;
  }

  Result<void> use_ready() {
    if (planned_.size() != place_.ready->formats.size() || bytes_ != place_.ready->bytes.size()) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("{} matrices in {} bytes are packed; the model has {} in {}",
                              place_.ready->formats.size(),
                              place_.ready->bytes.size(),
                              planned_.size(),
                              bytes_));
    }
    for (const Planned& planned : planned_) {
      *planned.target =
          kernel_panels(planned.job.shape(), place_.ready->bytes.data() + planned.offset);
    }
    return {};
  }

  // Kernels only read; place() takes the mutable address that packing needs.
  static Panels kernel_panels(const Panels& shape, const std::uint8_t* memory) {
    return place(shape, const_cast<std::uint8_t*>(memory));
  }

  Result<MemoryRegion> allocate() const {
    if (!place_.allocate) {
      return MemoryRegion::allocate(bytes_, "the weights");
    }
    std::vector<kernel::Format> formats;
    formats.reserve(planned_.size());
    for (const Planned& planned : planned_) {
      formats.push_back(planned.job.format);
    }
    return place_.allocate(formats, bytes_);
  }

  // The source of packed panels is not needed again: without this a load would hold the whole file
  // and what is packed from it. Reordered rows may still be needed by other panels of their head.
  void release(const Planned& planned, int panel, std::size_t panels) const {
    const TensorView& tensor = *planned.job.tensor;
    const auto rows = static_cast<std::size_t>(planned.job.outputs());
    const std::size_t row_bytes = tensor.data.size() / rows;
    const std::size_t first = static_cast<std::size_t>(panel) * kernel::kPanelOutputs;
    const std::size_t last = std::min(rows, first + panels * kernel::kPanelOutputs);
    if (planned.job.row_order.empty() && first < last) {
      file_.release(tensor.data.subspan(first * row_bytes, (last - first) * row_bytes));
    }
  }

  Result<void> pack(const MemoryRegion& memory, ThreadPool& pool) {
    struct Unit {
      const Planned* planned;
      int panel;
    };

    std::vector<Unit> units;
    units.reserve(static_cast<std::size_t>(panels_));
    for (Planned& planned : planned_) {
      *planned.target = place(planned.job.shape(), memory.data() + planned.offset);
      for (int panel = 0; panel < planned.target->panels(); ++panel) {
        units.push_back({&planned, panel});
      }
    }
    std::mutex mutex;
    std::optional<Error> problem;
    // Small runs of panels: enough work each, and few enough trips to the shared ticket.
    constexpr std::size_t kRun = 16;
    pool.run(static_cast<int>((units.size() + kRun - 1) / kRun), [&](int item, int) {
      const std::size_t begin = static_cast<std::size_t>(item) * kRun;
      for (std::size_t i = begin; i < std::min(begin + kRun, units.size()); ++i) {
        const Unit& unit = units[i];
        if (auto packed = pack_panel(unit.planned->job, *unit.planned->target, unit.panel);
            !packed) {
          const std::lock_guard lock(mutex);
          problem = packed.error();
        }
      }
      release(
          *units[begin].planned, units[begin].panel, std::min(begin + kRun, units.size()) - begin);
    });
    if (problem) {
      return std::unexpected(*problem);
    }
    return {};
  }

  const TensorFile& file_;
  const ModelSpec& spec_;
  const PanelPlace& place_;
  std::vector<Planned> planned_;
  std::size_t bytes_ = 0;
  std::int64_t panels_ = 0;
};

}  // namespace

Result<ModelWeights> load_weights(const TensorFile& file,
                                  const ModelSpec& spec,
                                  const PanelPlace& place,
                                  ThreadPool& pool) {
  return Loader(file, spec, place).load(pool);
}

}  // namespace genesis::model
