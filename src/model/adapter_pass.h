// Adapters in the forward pass: which rows of a slice use which, and their part of each linear
// layer. Rows without an adapter are not touched at all.
#pragma once

#include "kernel/kernels.h"
#include "model/activation_buffer.h"
#include "model/adapter.h"
#include "model/thread_pool.h"

#include <cstdint>
#include <span>
#include <vector>

namespace genesis::model {

// Part of the outputs of one linear layer for a block of rows, just computed by the base.
struct AdapterOutput {
  int first_row = 0;
  int rows = 0;
  int panel_begin = 0;
  int panel_end = 0;
  float* out = nullptr;
  std::size_t out_stride = 0;
};

// plan() once per slice, then for each input of linear layers shrink(), and expand() by whoever
// computes outputs. expand() may run on several threads at once.
class AdapterPass {
 public:
  AdapterPass(const kernel::Kernels& kernels, int threads);

  // The adapter of each row, or null. The pointers must stay valid until the next plan().
  void plan(std::span<const Adapter* const> rows);

  bool empty() const { return groups_.empty(); }

  // A x of the linear layers `linears` of block `layer`, all of which read `input`.
  void shrink(ThreadPool& pool,
              std::int32_t layer,
              std::span<const Linear> linears,
              const ActivationBuffer& input);
  // Adds B (A x) to outputs of the layer.
  void expand(std::int32_t layer, Linear linear, const AdapterOutput& output) const;

  // The same for the output head, whose rows are planned by themselves.
  void shrink_head(ThreadPool& pool, const ActivationBuffer& input);
  void expand_head(const AdapterOutput& output) const;

 private:
  // The rows of one adapter, rising.
  struct Group {
    const Adapter* adapter;
    std::vector<std::int32_t> rows;
  };

  // Rows of a group that one work item shrinks.
  struct Item {
    std::int32_t group;
    std::int32_t begin;
    std::int32_t count;
  };

  struct Scratch {
    std::vector<float> inputs;
    std::vector<float*> out;
  };

  static const AdapterMatrices& matrices(const Adapter& adapter, std::int32_t layer, Linear linear);
  static std::span<const std::int32_t> rows_within(const Group& group, const AdapterOutput& output);
  void shrink_item(const Item& item,
                   int thread,
                   std::int32_t layer,
                   std::span<const Linear> linears,
                   const ActivationBuffer& input);

  const kernel::Kernels& kernels_;
  std::vector<Group> groups_;
  std::vector<Item> items_;
  std::vector<float> low_;  // [row][linear][kMaxAdapterRank]: scale * (A x)
  std::vector<Scratch> scratch_;
};

}  // namespace genesis::model
