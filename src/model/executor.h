// CpuExecutor: runs a ModelSpec on the CPU kernels. Implements engine::Runner.
#pragma once

#include "base/result.h"
#include "engine/runner.h"
#include "kernel/kernels.h"
#include "model/activation_buffer.h"
#include "model/adapter_pass.h"
#include "model/adapter_set.h"
#include "model/attention.h"
#include "model/kv_pool.h"
#include "model/loader.h"
#include "model/model_spec.h"
#include "model/model_weights.h"
#include "model/rotary.h"
#include "model/thread_pool.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace genesis::model {

// A step is a fixed program of five threaded stages per layer: q, k, v with rotation and KV write;
// attention; output projection onto the residual; gate and up; down onto the residual. With norms
// after attention and MLP what they give waits in a buffer until the next stage norms it.
// What a later stage reads is stored quantized by the stage that makes it.
class CpuExecutor final : public engine::Runner {
 public:
  // Packs the weights of `file` into `place` (whose fp32 is not looked at), or uses what is packed
  // there; nothing refers to `file` afterwards.
  static Result<std::unique_ptr<CpuExecutor>> create(const weights::TensorFile& file,
                                                     const ModelSpec& spec,
                                                     const LoadOptions& options,
                                                     PanelPlace place = {});

  const engine::RunnerInfo& info() const override { return info_; }

  // Errors: kInvalidArgument for a batch that breaks Runner's contract (a bug of the caller, found
  // before any work), kDataLoss when the weights gave a logit that is not finite.
  Result<void> run(std::span<const engine::SequenceStep> batch, std::span<float> logits) override;

  Result<engine::AdapterInfo> load_adapter(const std::filesystem::path& folder) override;

  void unload_adapter(std::int32_t id) override { adapters_.remove(id); }

  // Takes one that is built already.
  engine::AdapterInfo add_adapter(std::shared_ptr<const Adapter> adapter) {
    return adapters_.add(std::move(adapter));
  }

  void set_weights_sha256(std::string hash) { info_.weights_sha256 = std::move(hash); }

 private:
  // One row of a step: a token at a position of a sequence.
  struct Row {
    std::int32_t token;
    std::int32_t position;
    std::int32_t page;
    std::int32_t slot;
    const Adapter* adapter;  // null: the base model alone
  };

  // Per thread: outputs of a block of rows before they are rotated, stored or multiplied.
  struct Scratch {
    std::vector<float> first;
    std::vector<float> second;
    std::vector<float> row;
  };

  CpuExecutor(const ModelSpec& spec, const kernel::Kernels& kernels, int threads, KvPool kv);

  Result<void> check_batch(std::span<const engine::SequenceStep> batch,
                           std::span<const float> logits,
                           const AdapterSet::Held& held) const;
  void plan_adapters();
  void add_rows(const engine::SequenceStep& step,
                const Adapter* adapter,
                std::int32_t begin,
                std::int32_t count);
  void forward(float* logits);
  void embed();
  void normalize(const std::vector<float>& post, const std::vector<float>& weight);
  void settle_row(const std::vector<float>& post, int row, int thread);
  void project_heads(const LayerWeights& layer, std::int32_t index);
  void project_head_block(
      const LayerWeights& layer, std::int32_t index, int unit, int block, int thread);
  void add_linear(const LayerWeights& layer, std::int32_t index, Linear linear);
  void gate_up(const LayerWeights& layer, std::int32_t index);
  void gate_up_block(
      const LayerWeights& layer, std::int32_t index, int unit, int block, int thread);
  void finish_head(std::int32_t layer, int unit, int row, float* values);
  void output_head(float* logits);
  int row_blocks() const;

  ModelSpec spec_;
  const kernel::Kernels& kernels_;
  bool fp32_ = false;
  engine::RunnerInfo info_;
  ThreadPool pool_;
  ModelWeights weights_;
  KvPool kv_;
  Rotary rotary_;
  Rotary local_rotary_;  // of layers with a window, where they have a base of their own
  Attention attention_;
  std::vector<Scratch> scratch_;
  AdapterSet adapters_;
  AdapterPass adapter_pass_;       // over the rows of the slice
  AdapterPass head_adapter_pass_;  // over its rows of logits

  // State of the slice of a step that is being computed.
  std::vector<Row> rows_;
  std::vector<RowRun> runs_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<const Adapter*> row_adapters_;
  std::vector<int> finer_rows_;  // kept finer than int8: see activation_buffer.h
  std::vector<float> residual_;  // [rows][hidden]
  std::vector<float> branch_;    // likewise: of attention or MLP, to be normed; with post_norms
  ActivationBuffer normed_;      // [rows][hidden]
  ActivationBuffer attended_;    // [rows][query_size]
  ActivationBuffer mlp_;         // [rows][mlp]
};

}  // namespace genesis::model
