#include "model/adapter_pass.h"

#include <algorithm>
#include <array>

namespace genesis::model {
namespace {

// Rows of one item: their inputs as floats stay in L1 and L2 while every block of A passes once.
constexpr std::int32_t kItemRows = 8;
constexpr std::size_t kLowStride = kLinears * static_cast<std::size_t>(kMaxAdapterRank);
constexpr std::int32_t kHeadLayer = -1;

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

std::size_t low_offset(Linear linear) {
  return static_cast<std::size_t>(linear) * size(kMaxAdapterRank);
}

}  // namespace

AdapterPass::AdapterPass(const kernel::Kernels& kernels, int threads)
    : kernels_(kernels), scratch_(size(threads)) {}

void AdapterPass::plan(std::span<const Adapter* const> rows) {
  groups_.clear();
  items_.clear();
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (rows[row] == nullptr) {
      continue;
    }
    auto group = std::ranges::find(groups_, rows[row], &Group::adapter);
    if (group == groups_.end()) {
      groups_.push_back({rows[row], {}});
      group = groups_.end() - 1;
    }
    group->rows.push_back(static_cast<std::int32_t>(row));
  }
  if (groups_.empty()) {
    return;
  }
  low_.resize(std::max(low_.size(), rows.size() * kLowStride));
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto count = static_cast<std::int32_t>(groups_[g].rows.size());
    for (std::int32_t begin = 0; begin < count; begin += kItemRows) {
      items_.push_back({static_cast<std::int32_t>(g), begin, std::min(kItemRows, count - begin)});
    }
  }
}

const AdapterMatrices& AdapterPass::matrices(const Adapter& adapter,
                                             std::int32_t layer,
                                             Linear linear) {
  return layer == kHeadLayer ? adapter.head
                             : adapter.layers[size(layer)][static_cast<std::size_t>(linear)];
}

void AdapterPass::shrink(ThreadPool& pool,
                         std::int32_t layer,
                         std::span<const Linear> linears,
                         const ActivationBuffer& input) {
  pool.run(static_cast<int>(items_.size()), [&](int item, int thread) {
    shrink_item(items_[size(item)], thread, layer, linears, input);
  });
}

void AdapterPass::shrink_item(const Item& item,
                              int thread,
                              std::int32_t layer,
                              std::span<const Linear> linears,
                              const ActivationBuffer& input) {
  const Group& group = groups_[size(item.group)];
  const auto used = [&](Linear linear) { return matrices(*group.adapter, layer, linear).rank > 0; };
  if (std::ranges::none_of(linears, used)) {
    return;
  }
  const std::span<const std::int32_t> rows =
      std::span(group.rows).subspan(size(item.begin), size(item.count));
  Scratch& scratch = scratch_[size(thread)];
  scratch.inputs.resize(std::max(scratch.inputs.size(), rows.size() * input.inputs()));
  scratch.out.resize(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    input.load(kernels_, rows[r], scratch.inputs.data() + r * input.inputs());
  }
  for (const Linear linear : linears) {
    const AdapterMatrices& m = matrices(*group.adapter, layer, linear);
    if (m.rank == 0) {
      continue;
    }
    for (std::size_t r = 0; r < rows.size(); ++r) {
      scratch.out[r] = low_.data() + size(rows[r]) * kLowStride + low_offset(linear);
    }
    kernels_.adapter.shrink({.x = scratch.inputs.data(),
                             .rows = item.count,
                             .inputs = m.inputs,
                             .a = m.a,
                             .half = group.adapter->half,
                             .ranks = m.padded_rank(),
                             .scale = m.scale,
                             .out = scratch.out.data()});
  }
}

// Part of one group in an expansion: the rows of it that the output covers.
std::span<const std::int32_t> AdapterPass::rows_within(const Group& group,
                                                       const AdapterOutput& output) {
  const auto begin = std::ranges::lower_bound(group.rows, output.first_row);
  const auto end = std::ranges::lower_bound(group.rows, output.first_row + output.rows);
  return {begin, end};
}

void AdapterPass::expand(std::int32_t layer, Linear linear, const AdapterOutput& output) const {
  // Each adapter's part is a kilobyte or two somewhere else: too short for the processor to notice
  // a stream, so the next one is asked for while this one is computed.
  const auto ahead = [&](std::size_t g) {
    if (g >= groups_.size() || rows_within(groups_[g], output).empty()) {
      return;
    }
    const AdapterMatrices& m = matrices(*groups_[g].adapter, layer, linear);
    const std::size_t panel =
        size(m.rank) * kernel::kAdapterBlock * groups_[g].adapter->value_bytes();
    const std::size_t end = size(output.panel_end) * panel;
    for (std::size_t at = size(output.panel_begin) * panel; at < end; at += 64) {
      __builtin_prefetch(m.b + at);
    }
  };
  ahead(0);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    ahead(g + 1);
    const AdapterMatrices& m = matrices(*groups_[g].adapter, layer, linear);
    const std::span<const std::int32_t> rows = rows_within(groups_[g], output);
    if (m.rank == 0 || rows.empty()) {
      continue;
    }
    kernels_.adapter.expand({.low = low_.data() + low_offset(linear),
                             .low_stride = kLowStride,
                             .rows = rows.data(),
                             .count = static_cast<int>(rows.size()),
                             .first_row = output.first_row,
                             .b = m.b,
                             .half = groups_[g].adapter->half,
                             .rank = m.rank,
                             .outputs = m.outputs,
                             .panel_begin = output.panel_begin,
                             .panel_end = output.panel_end,
                             .out = output.out,
                             .out_stride = output.out_stride});
  }
}

// The head borrows the place of kQ among the low values: nothing else of this pass uses it.
void AdapterPass::shrink_head(ThreadPool& pool, const ActivationBuffer& input) {
  constexpr std::array kHead{Linear::kQ};
  shrink(pool, kHeadLayer, kHead, input);
}

void AdapterPass::expand_head(const AdapterOutput& output) const {
  expand(kHeadLayer, Linear::kQ, output);
}

}  // namespace genesis::model
