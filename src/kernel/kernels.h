// The kernels: plain pointers in and out, no allocation, no threads, no state. One table per
// instruction set tier.
//
// All tiers give the same bits: integers are exact, and every floating-point result is defined
// below as a fixed sequence of IEEE operations ("fma chain": acc = fma(a, b, acc) in the order
// told, from +0). No row of a result depends on how many rows a call has or which panels it covers.
//
// Vector lengths are multiples of 8 unless told otherwise; scales given to softmax are positive.
//
// NaN and infinity: they come out as NaN or infinity in the rows they belong to; only their payload
// and sign may differ between tiers.
#pragma once

#include "kernel/adapter.h"
#include "kernel/attention.h"
#include "kernel/cpu.h"
#include "kernel/layout.h"

#include <cstddef>
#include <cstdint>

namespace genesis::kernel {

// Rows of inputs of one linear layer. Quantized weights read codes, scales, sums and totals, kF32
// reads values. Row r of codes and values starts at r * inputs, of the others at r * inputs / 32.
struct Activations {
  const std::int8_t* codes = nullptr;
  const float* scales = nullptr;         // x = scale * code
  const std::int32_t* totals = nullptr;  // the sum of the group's codes
  const float* sums = nullptr;           // scale * total
  const float* values = nullptr;
};

// Output n of row r goes to out[r * out_stride + n - 16 * panel_begin], for the outputs of panels
// [panel_begin, panel_end); outputs past the matrix are not written.
struct LinearCall {
  Panels weights;
  Activations x;
  int rows = 0;
  int panel_begin = 0;
  int panel_end = 0;
  float* out = nullptr;
  std::size_t out_stride = 0;
  bool add = false;  // out += y instead of out = y
};

// c[r][j] = (keep ? c[r][j] : 0) + sum over d of a[r][d] * b[d][j], an fma chain in rising d.
// `b` holds binary16 or float; columns is a multiple of 8. Strides count elements.
struct MixCall {
  const float* a = nullptr;
  std::size_t a_stride = 0;
  const void* b = nullptr;
  std::size_t b_stride = 0;
  bool b_is_half = false;
  float* c = nullptr;
  std::size_t c_stride = 0;
  int rows = 0;
  int depth = 0;
  int columns = 0;
  bool keep = false;
};

// Where quantize() writes: 32 codes, a scale, a total and a sum a group, as in Activations.
struct QuantizedRows {
  std::int8_t* codes = nullptr;
  float* scales = nullptr;
  std::int32_t* totals = nullptr;
  float* sums = nullptr;
};

struct SoftmaxPart {
  float max = 0.0F;
  float sum = 0.0F;
};

struct Kernels {
  // Quantized: per group, exact integer dot, then acc = fma(w_scale * x_scale, float(dot), acc),
  // then for kQ4 acc = fma(w_min, x_sum, acc), in rising group order. kF32: per group an fma chain
  // in rising input order, and the groups' sums added in rising order.
  void (*linear)(const LinearCall& call);

  // Activation groups of 32: code = nearest(y), ties to even, of y = x * (127 / max|x|). The scale
  // is (max|x| / 127) * (sum of y * code / sum of code^2): the least-squares one for these codes,
  // which leaves 2.5 % less squared error than max|x| / 127 on normal values. The first sum runs in
  // 8 lanes as in rms_norm, the second is exact. A group whose largest magnitude is below 1e-30
  // becomes zeros; with a NaN or infinity its scale and sum become NaN, its codes 0. `count` is a
  // multiple of 32.
  void (*quantize)(const float* x, int count, const QuantizedRows& out);

  // out = (x * (1 / sqrt(mean(x^2) + eps))) * weight. Squares are summed in 8 lanes (lane = index
  // mod 8, fma chains), lanes by halves. `count` is a multiple of 8; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int count, float* out);

  // Rotary embedding of one head in half-split form, in place: for i < half
  // (x[i], x[i + half]) = (fma(x[i], cos[i], -(x[i+half] * sin[i])),
  //                        fma(x[i+half], cos[i], x[i] * sin[i])). `half` is a multiple of 8.
  void (*rotate)(float* x, const float* cos, const float* sin, int half);

  // out = (gate / (1 + exp(-gate))) * up. `count` is a multiple of 8; out may be gate.
  void (*silu_mul)(const float* gate, const float* up, int count, float* out);

  // out = (gate / (1 + exp(c * fma(0.044715, (gate * gate) * gate, gate)))) * up, c = -2 sqrt(2 /
  // pi): GELU's tanh form times up. `count` and out as for silu_mul.
  void (*gelu_mul)(const float* gate, const float* up, int count, float* out);

  // x = tanh((x * scale) / cap) * cap for any `count`; tanh by Cephes' polynomial, relative error
  // below 3e-7. Infinity becomes cap.
  void (*softcap)(float* x, int count, float scale, float cap);

  void (*mix)(const MixCall& call);

  // s[i] = exp(s[i] * scale - max), sum in 8 lanes as above. Room for `count` rounded up to 8.
  SoftmaxPart (*softmax)(float* s, int count, float scale);

  // acc = fma(acc, keep, part * take), elementwise.
  void (*merge)(float* acc, float keep, const float* part, float take, int count);
  void (*scale)(float* x, float by, int count);

  // exp() as all of the above use it: Cephes' polynomial, relative error below 2e-7 for
  // -87 <= x <= 88; 0 below (and for NaN), exp(88) above.
  void (*exp)(const float* x, int count, float* out);

  void (*narrow)(const float* x, int count, std::uint16_t* halves);
  void (*widen)(const std::uint16_t* halves, int count, float* x);

  AttentionKernels attention;
  AdapterKernels adapter;
};

// The table of a tier that choose_tier() accepted.
const Kernels& kernels_of(Tier tier);

}  // namespace genesis::kernel
