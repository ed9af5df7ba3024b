// Finds, checks and packs the tensors of a model under either naming.
#include "model/model_weights.h"

#include "model/packing.h"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace genesis::model {
namespace {

using kernel::Panels;
using weights::TensorFile;
using weights::TensorView;

// Names inside a layer: llama.cpp's gguf-py constants.py; transformers' modeling_llama.py.
struct LayerNames {
  std::string_view attention_norm, q, k, v, qkv, q_norm, k_norm, o, attention_post_norm;
  std::string_view mlp_norm, gate, up, gate_up, down, mlp_post_norm;
};

constexpr LayerNames kGgufNames{.attention_norm = "attn_norm",
                                .q = "attn_q",
                                .k = "attn_k",
                                .v = "attn_v",
                                .qkv = "attn_qkv",
                                .q_norm = "attn_q_norm",
                                .k_norm = "attn_k_norm",
                                .o = "attn_output",
                                .attention_post_norm = "post_attention_norm",
                                .mlp_norm = "ffn_norm",
                                .gate = "ffn_gate",
                                .up = "ffn_up",
                                .gate_up = "ffn_up",
                                .down = "ffn_down",
                                .mlp_post_norm = "post_ffw_norm"};
constexpr LayerNames kHuggingFaceNames{.attention_norm = "input_layernorm",
                                       .q = "self_attn.q_proj",
                                       .k = "self_attn.k_proj",
                                       .v = "self_attn.v_proj",
                                       .qkv = "self_attn.qkv_proj",
                                       .q_norm = "self_attn.q_norm",
                                       .k_norm = "self_attn.k_norm",
                                       .o = "self_attn.o_proj",
                                       .attention_post_norm = "",
                                       .mlp_norm = "post_attention_layernorm",
                                       .gate = "mlp.gate_proj",
                                       .up = "mlp.up_proj",
                                       .gate_up = "mlp.gate_up_proj",
                                       .down = "mlp.down_proj",
                                       .mlp_post_norm = ""};

// Norms on both sides changed the meaning of one name.
constexpr LayerNames with_post_norms(LayerNames names) {
  names.attention_post_norm = "post_attention_layernorm";
  names.mlp_norm = "pre_feedforward_layernorm";
  names.mlp_post_norm = "post_feedforward_layernorm";
  return names;
}

LayerNames names_for(const ModelSpec& spec) {
  if (spec.naming == TensorNaming::kGguf) {
    return kGgufNames;
  }
  return spec.post_norms ? with_post_norms(kHuggingFaceNames) : kHuggingFaceNames;
}

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
      : file_(file), spec_(spec), names_(names_for(spec)), place_(place) {}

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
        norm(gguf ? "output_norm.weight" : "model.norm.weight", spec_.hidden, out.output_norm));
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
      GENESIS_TRY_VOID(layer(i, out.layers[static_cast<std::size_t>(i)]));
    }
    GENESIS_TRY_VOID(refuse_unread());
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
    prefix_ = spec_.naming == TensorNaming::kGguf ? fmt::format("blk.{}.", index)
                                                  : fmt::format("model.layers.{}.", index);
    GENESIS_TRY_VOID(norm(weight(names_.attention_norm), spec_.hidden, out.attention_norm));
    GENESIS_TRY_VOID(norm(weight(names_.mlp_norm), spec_.hidden, out.mlp_norm));
    if (spec_.post_norms) {
      GENESIS_TRY_VOID(
          norm(weight(names_.attention_post_norm), spec_.hidden, out.attention_post_norm));
      GENESIS_TRY_VOID(norm(weight(names_.mlp_post_norm), spec_.hidden, out.mlp_post_norm));
    }
    GENESIS_TRY_VOID(heads(out));
    GENESIS_TRY_VOID(matrix(weight(names_.o), spec_.hidden, spec_.query_size(), out.o));
    if (spec_.fused) {
      const std::string name = weight(names_.gate_up);
      const std::int32_t both = 2 * spec_.mlp;
      GENESIS_TRY_VOID(rows_of(name, both, {0, spec_.mlp}, out.gate));
      GENESIS_TRY_VOID(rows_of(name, both, {spec_.mlp, spec_.mlp}, out.up));
    } else {
      GENESIS_TRY_VOID(matrix(weight(names_.gate), spec_.mlp, spec_.hidden, out.gate));
      GENESIS_TRY_VOID(matrix(weight(names_.up), spec_.mlp, spec_.hidden, out.up));
    }
    return matrix(weight(names_.down), spec_.hidden, spec_.mlp, out.down);
  }

  Result<void> heads(LayerWeights& out) {
    const std::int32_t q = spec_.query_size();
    const std::int32_t kv = spec_.kv_size();
    if (spec_.fused) {
      const std::string name = weight(names_.qkv);
      const std::int32_t all = q + 2 * kv;
      GENESIS_TRY_VOID(rows_of(name, all, {0, q}, out.q, order(spec_.heads)));
      GENESIS_TRY_VOID(rows_of(name, all, {q, kv}, out.k, order(spec_.kv_heads)));
      GENESIS_TRY_VOID(rows_of(name, all, {q + kv, kv}, out.v));
    } else {
      GENESIS_TRY_VOID(matrix(weight(names_.q), q, spec_.hidden, out.q, order(spec_.heads)));
      GENESIS_TRY_VOID(matrix(weight(names_.k), kv, spec_.hidden, out.k, order(spec_.kv_heads)));
      GENESIS_TRY_VOID(matrix(weight(names_.v), kv, spec_.hidden, out.v));
    }
    if (spec_.attention_bias) {
      GENESIS_TRY_VOID(vector(bias(names_.q), q, out.q_bias, order(spec_.heads)));
      GENESIS_TRY_VOID(vector(bias(names_.k), kv, out.k_bias, order(spec_.kv_heads)));
      GENESIS_TRY_VOID(vector(bias(names_.v), kv, out.v_bias));
    }
    if (spec_.qk_norm) {
      GENESIS_TRY_VOID(norm(weight(names_.q_norm), spec_.head_dim, out.q_norm, order(1)));
      GENESIS_TRY_VOID(norm(weight(names_.k_norm), spec_.head_dim, out.k_norm, order(1)));
    }
    return {};
  }

  std::string weight(std::string_view part) const {
    return fmt::format("{}{}.weight", prefix_, part);
  }

  std::string bias(std::string_view part) const { return fmt::format("{}{}.bias", prefix_, part); }

  std::vector<std::int32_t> order(std::int32_t heads) const {
    return spec_.rotary_pairs == RotaryPairs::kAdjacent ? halves_from_adjacent(spec_, heads)
                                                        : std::vector<std::int32_t>{};
  }

  // Biases and norms change the result: one that nothing here reads means another architecture.
  Result<void> refuse_unread() const {
    for (const TensorView& tensor : file_.tensors()) {
      const bool counts = tensor.name.ends_with(".bias") || tensor.name.ends_with("norm.weight");
      if (counts && !read_.contains(tensor.name)) {
        return fail_param(
            tensor.name,
            fmt::format("tensor {} is not part of architecture '{}' as it is run here",
                        tensor.name.substr(0, 200),
                        spec_.architecture),
            ErrorCode::kUnsupported);
      }
    }
    return {};
  }

  Result<const TensorView*> find(std::string_view name, std::span<const std::int64_t> shape) {
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
    read_.emplace(name);
    return tensor;
  }

  Result<const TensorView*> find_matrix(std::string_view name,
                                        std::int32_t outputs,
                                        std::int32_t inputs) {
    GENESIS_TRY(const TensorView* tensor, find(name, std::array<std::int64_t, 2>{outputs, inputs}));
    if (static_cast<std::size_t>(inputs) % weights::block_layout(tensor->type).elements != 0) {
      return fail_param(std::string(name),
                        fmt::format("rows of {} values are not whole {} blocks in tensor {}",
                                    inputs,
                                    weights::tensor_type_name(tensor->type),
                                    name),
                        ErrorCode::kDataLoss);
    }
    return tensor;
  }

  Result<void> matrix(std::string_view name,
                      std::int32_t outputs,
                      std::int32_t inputs,
                      Panels& target,
                      std::vector<std::int32_t> order = {}) {
    GENESIS_TRY(const TensorView* tensor, find_matrix(name, outputs, inputs));
    plan(tensor, std::move(order), target);
    return {};
  }

  struct Rows {
    std::int32_t first;
    std::int32_t count;
  };

  // Some rows of a matrix of `outputs` rows and hidden columns.
  Result<void> rows_of(std::string_view name,
                       std::int32_t outputs,
                       Rows rows,
                       Panels& target,
                       std::vector<std::int32_t> order = {}) {
    GENESIS_TRY(const TensorView* tensor, find_matrix(name, outputs, spec_.hidden));
    TensorView& part = parts_.emplace_back(*tensor);
    const std::size_t row_bytes = tensor->data.size() / static_cast<std::size_t>(outputs);
    part.shape[0] = rows.count;
    part.data = part.data.subspan(static_cast<std::size_t>(rows.first) * row_bytes,
                                  static_cast<std::size_t>(rows.count) * row_bytes);
    plan(&part, std::move(order), target);
    return {};
  }

  void plan(const TensorView* tensor, std::vector<std::int32_t> order, Panels& target) {
    const auto ready = ready_format();
    const kernel::Format format = ready ? *ready : packed_format(*tensor, place_.fp32);
    Planned planned{{tensor, std::move(order), format}, bytes_, &target};
    bytes_ += packed_bytes(planned.job.shape());
    panels_ += planned.job.shape().panels();
    planned_.push_back(std::move(planned));
  }

  Result<void> norm(std::string_view name,
                    std::int32_t size,
                    std::vector<float>& out,
                    const std::vector<std::int32_t>& order = {}) {
    GENESIS_TRY_VOID(vector(name, size, out, order));
    for (float& value : out) {
      value += spec_.norm_offset;
    }
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
  LayerNames names_;
  const PanelPlace& place_;
  std::string prefix_;            // of the layer that is being read
  std::set<std::string> read_;    // names
  std::deque<TensorView> parts_;  // of fused tensors
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
