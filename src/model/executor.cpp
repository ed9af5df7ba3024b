// The forward pass: slices of rows through the stages of every layer.
#include "model/executor.h"

#include "kernel/cpu.h"
#include "model/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

namespace genesis::model {
namespace {

// Rows computed together at most; longer batches are cut, which changes no bit. Bounds the memory
// of activations (about 15 KiB a row at hidden size 576).
constexpr std::int32_t kMaxRows = 512;
// The first tokens of a sequence carry the largest activations, and every later token attends to
// them: their inputs are kept finer than int8. Mean KL against fp32 on the parity prompts with the
// first 0, 1, 2 and 4 tokens finer: 0.0050, 0.0039, 0.0034, 0.0029 (SmolLM2-135M, Q4_1).
constexpr std::int32_t kFinerTokens = 4;
// Rows of one work item: with the widest input of small models they stay in a 512 KiB L2.
constexpr int kRowBlock = 64;
// Up to here norms are done by the calling thread: cheaper than waking the others.
constexpr int kSerialRows = 4;
// Weight bytes of one work item. With one block of rows weights stream from memory: a long run
// keeps the processor's own prefetching going, and at twice as many items as threads a late thread
// still costs little. With more blocks the weights of an item stay in the cache for all of them.
constexpr std::size_t kStreamBytes = 256 * 1024;
constexpr std::size_t kCachedBytes = 16 * 1024;
constexpr int kItemsPerThread = 2;
// Outputs of gate and up that are joined at once: whole activation groups, two of which the kernels
// may round together.
constexpr int kGateUpOutputs = 2 * kernel::kGroup;

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

// One pass without an early exit, which compilers turn into vectors; one row takes microseconds.
bool all_finite(std::span<const float> values) {
  unsigned bad = 0;
  for (const float v : values) {
    bad |= static_cast<unsigned>(!(std::abs(v) <= std::numeric_limits<float>::max()));
  }
  return bad == 0;
}

// What `call` has just computed for the rows from `first` on.
AdapterOutput output_of(const kernel::LinearCall& call, int first) {
  return {.first_row = first,
          .rows = call.rows,
          .panel_begin = call.panel_begin,
          .panel_end = call.panel_end,
          .out = call.out,
          .out_stride = call.out_stride};
}

// How many of `units`, of so many weight bytes each, make one work item.
int units_per_item(int units, std::size_t unit_bytes, int blocks, int threads) {
  const std::size_t bytes = blocks == 1 ? kStreamBytes : kCachedBytes;
  const int fitting = static_cast<int>(std::max<std::size_t>(bytes / unit_bytes, 1));
  const int shares = kItemsPerThread * threads;
  return std::min(fitting, (units + shares - 1) / shares);
}

std::size_t panel_bytes(const kernel::Panels& weights) {
  return packed_bytes(weights) / size(weights.panels());
}

}  // namespace

CpuExecutor::CpuExecutor(const ModelSpec& spec,
                         const kernel::Kernels& kernels,
                         int threads,
                         KvPool kv)
    : spec_(spec),
      kernels_(kernels),
      pool_(threads),
      kv_(std::move(kv)),
      rotary_(Rotary::of(spec)),
      local_rotary_(Rotary::of_windows(spec)),
      attention_(spec_, kernels, threads, kv_.format()),
      scratch_(size(threads)),
      adapter_pass_(kernels, threads),
      head_adapter_pass_(kernels, threads) {
  for (Scratch& scratch : scratch_) {
    scratch.first.resize(size(kRowBlock * std::max(spec.head_dim, kGateUpOutputs)));
    scratch.second.resize(size(kRowBlock * kGateUpOutputs));
    scratch.row.resize(size(spec.hidden));
  }
}

Result<std::unique_ptr<CpuExecutor>> CpuExecutor::create(const weights::TensorFile& file,
                                                         const ModelSpec& spec,
                                                         const LoadOptions& options,
                                                         PanelPlace place) {
  GENESIS_TRY(const kernel::Tier tier, kernel::choose_tier(options.isa));
  // More threads than this only wait for each other.
  const int threads =
      std::clamp(options.threads > 0 ? options.threads : kernel::physical_cores(), 1, 256);
  const bool fp32 = options.precision == Precision::kFp32;
  const KvFormat format = fp32 ? KvFormat::kFloat : options.kv_format;
  GENESIS_TRY(KvPool kv, KvPool::create(spec, format, options.kv_bytes));
  std::int64_t context =
      std::min<std::int64_t>(spec.max_context, std::int64_t{kv.pages()} * kPageTokens);
  if (options.max_context > 0) {
    context = std::min<std::int64_t>(context, options.max_context);
  }
  ModelSpec chosen = spec;
  if (context > spec.rotary_original_context && !spec.rotary_long_factors.empty()) {
    // Once for all sequences, as vLLM does: an answer must not depend on how long others are.
    chosen.rotary_factors = spec.rotary_long_factors;
  }
  std::unique_ptr<CpuExecutor> executor(
      new CpuExecutor(chosen, kernel::kernels_of(tier), threads, std::move(kv)));
  executor->fp32_ = fp32;
  place.fp32 = fp32;
  GENESIS_TRY(executor->weights_, load_weights(file, spec, place, executor->pool_));
  executor->info_ = {.model_name = spec.name,
                     .weights_sha256 = {},
                     .isa = std::string(kernel::tier_name(tier)),
                     .kv_format = std::string(kv_format_name(format)),
                     .vocab_size = spec.vocab,
                     .max_context = static_cast<std::int32_t>(context),
                     .page_tokens = kPageTokens,
                     .num_pages = executor->kv_.pages(),
                     .page_bytes = executor->kv_.page_bytes()};
  return executor;
}

Result<engine::AdapterInfo> CpuExecutor::load_adapter(const std::filesystem::path& folder) {
  try {
    GENESIS_TRY(auto adapter, read_adapter(folder, spec_, fp32_));
    return adapters_.add(std::move(adapter));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("there is not enough memory for the adapter in {}", folder.string()),
                "unload another one, or give the engine more (engine.memory_mib)");
  }
}

Result<void> CpuExecutor::check_batch(std::span<const engine::SequenceStep> batch,
                                      std::span<const float> logits,
                                      const AdapterSet::Held& held) const {
  std::size_t logit_rows = 0;
  for (const engine::SequenceStep& step : batch) {
    const auto tokens = static_cast<std::int64_t>(step.tokens.size());
    const bool fits = step.start >= 0 && tokens >= 1 && step.start + tokens <= info_.max_context &&
                      step.start + tokens <= std::int64_t{kPageTokens} * std::ssize(step.pages);
    const bool pages_known = std::ranges::all_of(
        step.pages, [&](std::int32_t page) { return page >= 0 && page < kv_.pages(); });
    const bool tokens_known = std::ranges::all_of(
        step.tokens, [&](std::int32_t token) { return token >= 0 && token < spec_.vocab; });
    if (!fits || !pages_known || !tokens_known || step.logit_rows < 0 || step.logit_rows > tokens) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("step of {} tokens from position {} with {} pages and {} logit rows does not "
                      "fit the model",
                      tokens,
                      step.start,
                      step.pages.size(),
                      step.logit_rows));
    }
    if (step.adapter_from < 0 || (step.adapter != 0 && held.find(step.adapter) == nullptr)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("a step names adapter {} from position {}, which is not loaded",
                              step.adapter,
                              step.adapter_from));
    }
    logit_rows += size(step.logit_rows);
  }
  if (logits.size() != logit_rows * size(spec_.vocab)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("room for {} logits where {} rows of {} are asked for",
                            logits.size(),
                            logit_rows,
                            spec_.vocab));
  }
  return {};
}

Result<void> CpuExecutor::run(std::span<const engine::SequenceStep> batch,
                              std::span<float> logits) {
  const AdapterSet::Held held = adapters_.hold();
  GENESIS_TRY_VOID(check_batch(batch, logits, held));
  float* out = logits.data();
  const auto flush = [&] {
    forward(out);
    out += logit_rows_.size() * size(spec_.vocab);
    rows_.clear();
    runs_.clear();
    logit_rows_.clear();
  };
  for (const engine::SequenceStep& step : batch) {
    const auto tokens = static_cast<std::int32_t>(step.tokens.size());
    const Adapter* adapter = held.find(step.adapter);
    for (std::int32_t begin = 0; begin < tokens;) {
      const std::int32_t room = kMaxRows - static_cast<std::int32_t>(rows_.size());
      const std::int32_t count = std::min(room, tokens - begin);
      add_rows(step, adapter, begin, count);
      begin += count;
      if (std::ssize(rows_) == kMaxRows) {
        flush();
      }
    }
  }
  if (!rows_.empty()) {
    flush();
  }
  if (!all_finite(logits)) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("model '{}' computed a logit that is not finite", spec_.name),
                "the weights are damaged or were converted wrongly: pull the model again");
  }
  return {};
}

void CpuExecutor::add_rows(const engine::SequenceStep& step,
                           const Adapter* adapter,
                           std::int32_t begin,
                           std::int32_t count) {
  runs_.push_back({static_cast<std::int32_t>(rows_.size()), count, step.start + begin, step.pages});
  const auto tokens = static_cast<std::int32_t>(step.tokens.size());
  for (std::int32_t i = begin; i < begin + count; ++i) {
    const std::int32_t position = step.start + i;
    if (i >= tokens - step.logit_rows) {
      logit_rows_.push_back(static_cast<std::int32_t>(rows_.size()));
    }
    rows_.push_back({step.tokens[size(i)],
                     position,
                     step.pages[size(position / kPageTokens)],
                     position % kPageTokens,
                     position >= step.adapter_from ? adapter : nullptr});
  }
}

void CpuExecutor::plan_adapters() {
  row_adapters_.clear();
  for (const Row& row : rows_) {
    row_adapters_.push_back(row.adapter);
  }
  adapter_pass_.plan(row_adapters_);
  row_adapters_.clear();
  for (const std::int32_t row : logit_rows_) {
    const Adapter* adapter = rows_[size(row)].adapter;
    row_adapters_.push_back(adapter != nullptr && adapter->head.rank > 0 ? adapter : nullptr);
  }
  head_adapter_pass_.plan(row_adapters_);
}

void CpuExecutor::forward(float* logits) {
  const int rows = static_cast<int>(rows_.size());
  residual_.resize(size(rows) * size(spec_.hidden));
  branch_.resize(spec_.post_norms ? residual_.size() : 0);
  finer_rows_.clear();
  for (int row = 0; row < rows; ++row) {
    if (rows_[size(row)].position < kFinerTokens) {
      finer_rows_.push_back(row);
    }
  }
  normed_.reset(rows, spec_.hidden, fp32_, finer_rows_);
  attended_.reset(rows, spec_.query_size(), fp32_, finer_rows_);
  mlp_.reset(rows, spec_.mlp, fp32_, finer_rows_);
  attention_.plan(runs_, rows);
  plan_adapters();
  embed();
  const std::vector<float> none;
  const std::vector<float>* waiting = &none;  // the norm of what the stage before gave
  for (std::int32_t i = 0; i < spec_.layers; ++i) {
    const LayerWeights& layer = weights_.layers[size(i)];
    normalize(*waiting, layer.attention_norm);
    adapter_pass_.shrink(pool_, i, std::array{Linear::kQ, Linear::kK, Linear::kV}, normed_);
    project_heads(layer, i);
    pool_.run(attention_.items(),
              [&](int item, int thread) { attention_.run_item(item, thread, i, kv_, attended_); });
    adapter_pass_.shrink(pool_, i, std::array{Linear::kO}, attended_);
    add_linear(layer, i, Linear::kO);
    normalize(layer.attention_post_norm, layer.mlp_norm);
    adapter_pass_.shrink(pool_, i, std::array{Linear::kGate, Linear::kUp}, normed_);
    gate_up(layer, i);
    adapter_pass_.shrink(pool_, i, std::array{Linear::kDown}, mlp_);
    add_linear(layer, i, Linear::kDown);
    waiting = &layer.mlp_post_norm;
  }
  output_head(logits);
}

int CpuExecutor::row_blocks() const {
  return (static_cast<int>(rows_.size()) + kRowBlock - 1) / kRowBlock;
}

void CpuExecutor::embed() {
  rotary_.resize(rows_.size());
  local_rotary_.resize(spec_.local_rotary_base > 0.0 ? rows_.size() : 0);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    rotary_.set(r, rows_[r].position);
    if (spec_.local_rotary_base > 0.0) {
      local_rotary_.set(r, rows_[r].position);
    }
    float* row = residual_.data() + r * size(spec_.hidden);
    unpack_row(weights_.embedding, rows_[r].token, row);
    if (spec_.embedding_scale != 1.0F) {
      kernels_.scale(row, spec_.embedding_scale, spec_.hidden);
    }
  }
}

// Adds what attention or MLP gave to the residual, normed; nothing without post-norms, where
// add_linear() has done so.
void CpuExecutor::settle_row(const std::vector<float>& post, int row, int thread) {
  if (post.empty()) {
    return;
  }
  float* normed = scratch_[size(thread)].row.data();
  kernels_.rms_norm(branch_.data() + size(row) * size(spec_.hidden),
                    post.data(),
                    spec_.norm_eps,
                    spec_.hidden,
                    normed);
  float* residual = residual_.data() + size(row) * size(spec_.hidden);
  for (std::size_t i = 0; i < size(spec_.hidden); ++i) {
    residual[i] += normed[i];
  }
}

// Norms each row of the residual after what waits for `post`, the norm of an earlier stage's
// result.
void CpuExecutor::normalize(const std::vector<float>& post, const std::vector<float>& weight) {
  auto normalize_row = [&](int row, int thread) {
    settle_row(post, row, thread);
    float* normed = scratch_[size(thread)].row.data();
    kernels_.rms_norm(residual_.data() + size(row) * size(spec_.hidden),
                      weight.data(),
                      spec_.norm_eps,
                      spec_.hidden,
                      normed);
    normed_.store(kernels_, row, 0, normed, spec_.hidden);
  };
  const int rows = static_cast<int>(rows_.size());
  if (rows > kSerialRows) {
    pool_.run(rows, normalize_row);
    return;
  }
  for (int row = 0; row < rows; ++row) {
    normalize_row(row, 0);
  }
}

void CpuExecutor::project_heads(const LayerWeights& layer, std::int32_t index) {
  const int blocks = row_blocks();
  const int units = spec_.heads + 2 * spec_.kv_heads;
  pool_.run(units * blocks, [&](int item, int thread) {
    project_head_block(layer, index, item / blocks, item % blocks, thread);
  });
}

// One head of q, k or v for a block of rows: projected, rotated and put where attention reads it.
void CpuExecutor::project_head_block(
    const LayerWeights& layer, std::int32_t index, int unit, int block, int thread) {
  const bool is_query = unit < spec_.heads;
  const bool is_key = !is_query && unit < spec_.heads + spec_.kv_heads;
  const int head = is_query ? unit : (unit - spec_.heads) % spec_.kv_heads;
  const int first = block * kRowBlock;
  const int panels = spec_.head_dim / kernel::kPanelOutputs;
  kernel::LinearCall call;
  call.weights = is_query ? layer.q : is_key ? layer.k : layer.v;
  call.rows = std::min(kRowBlock, static_cast<int>(rows_.size()) - first);
  call.panel_begin = head * panels;
  call.panel_end = call.panel_begin + panels;
  call.out = scratch_[size(thread)].first.data();
  call.out_stride = size(spec_.head_dim);
  normed_.run(kernels_, call, first);
  adapter_pass_.expand(index,
                       is_query ? Linear::kQ
                       : is_key ? Linear::kK
                                : Linear::kV,
                       output_of(call, first));
  for (int r = 0; r < call.rows; ++r) {
    finish_head(index, unit, first + r, call.out + size(r) * call.out_stride);
  }
}

// Bias, norm and rotation of a projected head, and its way to attention.
void CpuExecutor::finish_head(std::int32_t index, int unit, int row_index, float* values) {
  const LayerWeights& layer = weights_.layers[size(index)];
  const Row& row = rows_[size(row_index)];
  const bool is_query = unit < spec_.heads;
  const bool is_value = unit >= spec_.heads + spec_.kv_heads;
  const int head = is_query ? unit : (unit - spec_.heads) % spec_.kv_heads;
  const std::vector<float>& bias = is_query ? layer.q_bias : is_value ? layer.v_bias : layer.k_bias;
  for (std::size_t i = 0; !bias.empty() && i < size(spec_.head_dim); ++i) {
    values[i] += bias[size(head * spec_.head_dim) + i];
  }
  if (is_value) {
    kv_.write_value(row.page, index, head, row.slot, values, kernels_);
    return;
  }
  if (spec_.qk_norm) {
    const std::vector<float>& norm = is_query ? layer.q_norm : layer.k_norm;
    kernels_.rms_norm(values, norm.data(), spec_.norm_eps, spec_.head_dim, values);
  }
  const bool local = spec_.local_rotary_base > 0.0 && spec_.window_of(index) > 0;
  const Rotary& rotary = local ? local_rotary_ : rotary_;
  kernels_.rotate(values, rotary.cos(size(row_index)), rotary.sin(size(row_index)), rotary.half());
  if (is_query) {
    attention_.set_query(head, row_index, values);
  } else {
    kv_.write_key(row.page, index, head, row.slot, values, kernels_);
  }
}

// Adds the output or the down projection to the residual, or puts it where it waits for its norm.
void CpuExecutor::add_linear(const LayerWeights& layer, std::int32_t index, Linear linear) {
  const kernel::Panels& weights = linear == Linear::kO ? layer.o : layer.down;
  const ActivationBuffer& input = linear == Linear::kO ? attended_ : mlp_;
  const int blocks = row_blocks();
  const int per_item =
      units_per_item(weights.panels(), panel_bytes(weights), blocks, pool_.threads());
  const int units = (weights.panels() + per_item - 1) / per_item;
  float* out = spec_.post_norms ? branch_.data() : residual_.data();
  pool_.run(units * blocks, [&](int item, int) {
    const int first = item % blocks * kRowBlock;
    kernel::LinearCall call;
    call.weights = weights;
    call.rows = std::min(kRowBlock, static_cast<int>(rows_.size()) - first);
    call.panel_begin = item / blocks * per_item;
    call.panel_end = std::min(call.panel_begin + per_item, weights.panels());
    call.out =
        out + size(first) * size(spec_.hidden) + size(call.panel_begin * kernel::kPanelOutputs);
    call.out_stride = size(spec_.hidden);
    call.add = !spec_.post_norms;
    input.run(kernels_, call, first);
    adapter_pass_.expand(index, linear, output_of(call, first));
  });
}

void CpuExecutor::gate_up(const LayerWeights& layer, std::int32_t index) {
  const int blocks = row_blocks();
  const int units = (spec_.mlp + kGateUpOutputs - 1) / kGateUpOutputs;
  constexpr int kPanels = kGateUpOutputs / kernel::kPanelOutputs;
  const std::size_t unit_bytes = kPanels * (panel_bytes(layer.gate) + panel_bytes(layer.up));
  const int per_item = units_per_item(units, unit_bytes, blocks, pool_.threads());
  const int items = (units + per_item - 1) / per_item;
  pool_.run(items * blocks, [&](int item, int thread) {
    const int first = item / blocks * per_item;
    for (int unit = first; unit < std::min(first + per_item, units); ++unit) {
      gate_up_block(layer, index, unit, item % blocks, thread);
    }
  });
}

// A unit of outputs of gate and up for a block of rows, joined and put where the down projection
// reads it.
void CpuExecutor::gate_up_block(
    const LayerWeights& layer, std::int32_t index, int unit, int block, int thread) {
  Scratch& scratch = scratch_[size(thread)];
  const int first = block * kRowBlock;
  kernel::LinearCall call;
  call.rows = std::min(kRowBlock, static_cast<int>(rows_.size()) - first);
  const int begin = unit * kGateUpOutputs;
  const int outputs = std::min(kGateUpOutputs, spec_.mlp - begin);
  call.panel_begin = begin / kernel::kPanelOutputs;
  call.panel_end = (begin + outputs) / kernel::kPanelOutputs;
  call.out_stride = kGateUpOutputs;
  call.weights = layer.gate;
  call.out = scratch.first.data();
  normed_.run(kernels_, call, first);
  adapter_pass_.expand(index, Linear::kGate, output_of(call, first));
  call.weights = layer.up;
  call.out = scratch.second.data();
  normed_.run(kernels_, call, first);
  adapter_pass_.expand(index, Linear::kUp, output_of(call, first));
  const auto activate =
      spec_.activation == Activation::kSilu ? kernels_.silu_mul : kernels_.gelu_mul;
  for (int r = 0; r < call.rows; ++r) {
    float* gate = scratch.first.data() + size(r) * kGateUpOutputs;
    activate(gate, scratch.second.data() + size(r) * kGateUpOutputs, outputs, gate);
    mlp_.store(kernels_, first + r, begin, gate, outputs);
  }
}

void CpuExecutor::output_head(float* logits) {
  const int rows = static_cast<int>(logit_rows_.size());
  if (rows == 0) {
    return;
  }
  normed_.reset(rows, spec_.hidden, fp32_);
  for (int r = 0; r < rows; ++r) {
    settle_row(weights_.layers.back().mlp_post_norm, logit_rows_[size(r)], 0);
    float* normed = scratch_[0].row.data();
    kernels_.rms_norm(residual_.data() + size(logit_rows_[size(r)]) * size(spec_.hidden),
                      weights_.output_norm.data(),
                      spec_.norm_eps,
                      spec_.hidden,
                      normed);
    normed_.store(kernels_, r, 0, normed, spec_.hidden);
  }
  head_adapter_pass_.shrink_head(pool_, normed_);
  const kernel::Panels& head = weights_.head;
  const int per_item = units_per_item(head.panels(), panel_bytes(head), 1, pool_.threads());
  const int units = (head.panels() + per_item - 1) / per_item;
  pool_.run(units, [&](int unit, int) {
    kernel::LinearCall call;
    call.weights = head;
    call.rows = rows;
    call.panel_begin = unit * per_item;
    call.panel_end = std::min(call.panel_begin + per_item, head.panels());
    call.out = logits + size(call.panel_begin * kernel::kPanelOutputs);
    call.out_stride = size(spec_.vocab);
    normed_.run(kernels_, call, 0);
    head_adapter_pass_.expand_head(output_of(call, 0));
    const int outputs = std::min(call.panel_end * kernel::kPanelOutputs, spec_.vocab) -
                        call.panel_begin * kernel::kPanelOutputs;
    for (int r = 0; spec_.logit_softcap > 0.0F && r < rows; ++r) {
      kernels_.softcap(call.out + size(r) * call.out_stride, outputs, 1.0F, spec_.logit_softcap);
    }
  });
}

}  // namespace genesis::model
