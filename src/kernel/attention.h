// Kernels of attention over int8 pages: rows of queries against the keys and values of 32 tokens.
//
// Keys lie as [dim / 2][32 tokens][2 dims], values as [16 token pairs][dim][2 tokens], each token's
// key and value with one float scale. Queries and weights are int16, so that both products are
// exact sums of int16 times int8 in int32; the same two bytes of a pair meet in one 32-bit lane
// of every tier (madd in AVX2, dpwssd in VNNI). `dims` is a multiple of 32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace genesis::kernel {

inline constexpr int kPageTokens = 32;

// out[r][t] = (float(sum over d of query * key) * query_scales[r]) * key_scales[t]
struct ScoreCall {
  const std::int16_t* queries = nullptr;  // row r at r * dims
  const float* query_scales = nullptr;
  int rows = 0;
  int dims = 0;
  const std::int8_t* keys = nullptr;
  const float* key_scales = nullptr;
  float* out = nullptr;
  std::size_t out_stride = 0;
};

// Turns the scores of one row into weights: e[t] = exp(score[t] - max), weight[t] =
// nearest((e[t] * value_scale[t]) * (32767 / v)), v the largest value scale of the `count` tokens.
// Weights from `count` up to the next multiple of 32 become zero. There must be room for both up to
// there; scores are overwritten.
struct WeighCall {
  float* scores = nullptr;
  int count = 0;
  const float* const* value_scales = nullptr;  // of each page, 32 floats
  std::int16_t* weights = nullptr;
};

// `sum` adds e in 16 lanes (lane = token mod 16), lanes by halves. Weighted values are
// scale * float(integer sum); NaN when a value's scale was not finite.
struct WeighResult {
  float max = 0.0F;
  float sum = 0.0F;
  float scale = 0.0F;
};

// sums[r][d] = (keep ? sums[r][d] : 0) + sum over the pages' tokens of weight * value. Exact for up
// to 512 tokens in all. Row r of sums starts at r * dims.
struct GatherCall {
  const std::int16_t* weights = nullptr;
  std::size_t weight_stride = 0;
  int rows = 0;
  int dims = 0;
  const std::int8_t* const* values = nullptr;
  int pages = 0;
  std::int32_t* sums = nullptr;
  bool keep = false;
};

// Largest magnitude of a query's code: with it a sum over `dims` products stays within int32.
constexpr int query_limit(int dims) {
  return dims <= 512 ? 32767 : 16383;
}

struct AttentionKernels {
  // Walsh-Hadamard transform, not normalized, in place, of each `block` values (a power of two,
  // at least 8): butterflies of distance block / 2, ..., 2, 1. Spreads the few large channels of
  // keys over all, where one scale serves them better; done to both sides it keeps their products
  // (times `block`).
  void (*spread)(float* x, int count, int block);

  // code = nearest(x * (limit / max|x|)); returns the scale max|x| / limit. 0 and zeros when
  // max|x| is below 1e-30; NaN and zeros when it is not finite.
  float (*encode_query)(const float* x, int count, int limit, std::int16_t* codes);

  // int8 codes and least-squares scale as Kernels::quantize, but of all `count` values as one
  // group.
  float (*encode)(const float* x, int count, std::int8_t* codes);

  void (*score)(const ScoreCall& call);
  WeighResult (*weigh)(const WeighCall& call);
  void (*gather)(const GatherCall& call);

  // out[i] = float(sums[i]) * scale
  void (*settle)(const std::int32_t* sums, float scale, int count, float* out);
};

}  // namespace genesis::kernel
