// A random packed matrix with its values in double, for the tests of this room.
#pragma once

#include "base/random.h"
#include "kernel/half.h"
#include "kernel/kernels.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace genesis::kernel {

struct TestMatrix {
  Panels view;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint16_t> mins;
  std::vector<float> values;
  std::vector<double> exact;  // [outputs][inputs]
};

inline float test_normal(Random& random) {
  double sum = -6.0;
  for (int i = 0; i < 12; ++i) {
    sum += random.uniform();
  }
  return static_cast<float>(sum);
}

// Codes cover their whole range; `constant_code` >= 0 uses that code everywhere.
inline TestMatrix make_matrix(
    Format format, int outputs, int inputs, Random& random, int constant_code = -1) {
  TestMatrix m;
  m.view.format = format;
  m.view.outputs = outputs;
  m.view.inputs = inputs;
  const auto groups = static_cast<std::size_t>(m.view.panels() * m.view.groups());
  m.exact.resize(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(inputs));
  const std::size_t group_bytes = format == Format::kQ4 ? kQ4GroupBytes : kQ8GroupBytes;
  if (format == Format::kF32) {
    m.values.resize(groups * kGroup * kPanelOutputs);
  } else {
    m.codes.resize(groups * group_bytes);
    m.scales.resize(groups * kPanelOutputs);
    m.mins.resize(groups * kPanelOutputs);
  }
  for (int n = 0; n < outputs; ++n) {
    for (int k = 0; k < inputs; ++k) {
      const std::size_t group =
          static_cast<std::size_t>(n / kPanelOutputs * m.view.groups() + k / kGroup);
      const int c = n % kPanelOutputs;
      double& exact = m.exact[static_cast<std::size_t>(n) * static_cast<std::size_t>(inputs) +
                              static_cast<std::size_t>(k)];
      if (format == Format::kF32) {
        const float value = test_normal(random);
        m.values[(group * kGroup + static_cast<std::size_t>(k % kGroup)) * kPanelOutputs +
                 static_cast<std::size_t>(c)] = value;
        exact = static_cast<double>(value);
        continue;
      }
      const std::size_t at = group * kPanelOutputs + static_cast<std::size_t>(c);
      if (k % kGroup == 0) {
        m.scales[at] = float_to_half(0.02F * test_normal(random));
        m.mins[at] = float_to_half(0.1F * test_normal(random));
      }
      const auto scale = static_cast<double>(half_to_float(m.scales[at]));
      if (format == Format::kQ4) {
        const int code = constant_code >= 0 ? constant_code : static_cast<int>(random.below(16));
        m.codes[group * group_bytes + q4_byte(c, k % kGroup)] |=
            static_cast<std::uint8_t>(code << q4_shift(k % kGroup));
        exact = scale * code + static_cast<double>(half_to_float(m.mins[at]));
      } else {
        const int code =
            constant_code >= 0 ? -constant_code : static_cast<int>(random.below(256)) - 128;
        m.codes[group * group_bytes + q8_byte(c, k % kGroup)] =
            static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
        exact = scale * code;
      }
    }
  }
  m.view.codes = m.codes.data();
  m.view.scales = m.scales.data();
  m.view.mins = m.mins.data();
  m.view.values = m.values.data();
  return m;
}

}  // namespace genesis::kernel
