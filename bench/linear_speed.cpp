// How fast the linear kernels of each tier are, on one core: the four shapes of a SmolLM2-135M
// layer, weights of one layer (in the second-level cache after the first round), blocks of 64 rows
// as the executor cuts them. Prints multiply-adds per nanosecond, the median of the rounds.
#include "kernel/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace genesis::kernel {
namespace {

constexpr int kBlockRows = 64;
constexpr int kRounds = 21;

struct Shape {
  int outputs;
  int inputs;
};

constexpr std::array kShapes = {Shape{576, 576}, Shape{576, 1536}, Shape{1536, 576}};

struct Matrix {
  Panels view;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
};

Matrix make_matrix(Format format, const Shape& shape) {
  Matrix m;
  m.view = {.format = format, .outputs = shape.outputs, .inputs = shape.inputs};
  const auto groups = static_cast<std::size_t>(m.view.panels() * m.view.groups());
  m.codes.assign(groups * (format == Format::kQ4 ? kQ4GroupBytes : kQ8GroupBytes), 0x35);
  m.scales.assign(groups * kPanelOutputs, 0x2000);
  m.view.codes = m.codes.data();
  m.view.scales = m.scales.data();
  m.view.mins = m.scales.data();
  return m;
}

struct Rows {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  std::vector<std::int32_t> totals;
};

Rows make_rows(int rows, int inputs) {
  const auto values = static_cast<std::size_t>(rows) * static_cast<std::size_t>(inputs);
  return {std::vector<std::int8_t>(values, 17),
          std::vector<float>(values / kGroup, 0.01F),
          std::vector<std::int32_t>(values / kGroup, 17 * kGroup)};
}

void multiply(const Kernels& kernels, const Matrix& matrix, const Rows& x, int rows, float* out) {
  const auto inputs = static_cast<std::size_t>(matrix.view.inputs);
  for (int first = 0; first < rows; first += kBlockRows) {
    const std::size_t at = static_cast<std::size_t>(first) * inputs;
    LinearCall call;
    call.weights = matrix.view;
    call.x = {.codes = x.codes.data() + at,
              .scales = x.scales.data() + at / kGroup,
              .totals = x.totals.data() + at / kGroup,
              .sums = x.scales.data() + at / kGroup};
    call.rows = std::min(kBlockRows, rows - first);
    call.panel_end = matrix.view.panels();
    call.out = out;
    call.out_stride = static_cast<std::size_t>(matrix.view.outputs);
    kernels.linear(call);
  }
}

double speed(Tier tier, Format format, int rows) {
  std::vector<Matrix> matrices;
  std::vector<Rows> inputs;
  double products = 0.0;
  for (const Shape& shape : kShapes) {
    matrices.push_back(make_matrix(format, shape));
    inputs.push_back(make_rows(rows, shape.inputs));
    products += static_cast<double>(shape.outputs) * shape.inputs * rows;
  }
  std::vector<float> out(static_cast<std::size_t>(kBlockRows) * 1536);
  std::vector<double> speeds;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    int repeats = 0;
    std::chrono::duration<double, std::nano> passed{};
    do {
      for (std::size_t i = 0; i < matrices.size(); ++i) {
        multiply(kernels_of(tier), matrices[i], inputs[i], rows, out.data());
      }
      ++repeats;
      passed = std::chrono::steady_clock::now() - start;
    } while (passed.count() < 5e6);
    speeds.push_back(products * repeats / passed.count());
  }
  std::ranges::nth_element(speeds, speeds.begin() + kRounds / 2);
  return speeds[kRounds / 2];
}

}  // namespace
}  // namespace genesis::kernel

int main() {
  using namespace genesis::kernel;
  for (const Tier tier : usable_tiers()) {
    if (tier == Tier::kScalar) {
      continue;
    }
    for (const Format format : {Format::kQ4, Format::kQ8}) {
      for (const int rows : {1, 2, 4, 8, 12, 15, 64, 256}) {
        fmt::print(
            "{{\"measure\":\"linear\",\"isa\":\"{}\",\"weights\":\"{}\",\"rows\":{},"
            "\"products_per_ns\":{:.1f}}}\n",
            tier_name(tier),
            format == Format::kQ4 ? "q4" : "q8",
            rows,
            speed(tier, format, rows));
      }
    }
  }
}
