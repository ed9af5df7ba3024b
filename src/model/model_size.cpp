// Sums over the matrices that model_weights.cpp packs.
#include "model/model_size.h"

#include "model/packing.h"

#include <utility>
#include <vector>

namespace genesis::model {
namespace {

struct Matrix {
  std::int32_t outputs;
  std::int32_t inputs;
  std::int64_t count;
};

std::vector<Matrix> matrices_of(const ModelSpec& spec) {
  return {{spec.vocab, spec.hidden, spec.tied_head ? 1 : 2},
          {spec.query_size(), spec.hidden, spec.layers},
          {spec.kv_size(), spec.hidden, 2LL * spec.layers},
          {spec.hidden, spec.query_size(), spec.layers},
          {spec.mlp, spec.hidden, 2LL * spec.layers},
          {spec.hidden, spec.mlp, spec.layers}};
}

}  // namespace

std::int64_t parameter_count(const ModelSpec& spec) {
  std::int64_t count = 0;
  for (const Matrix& matrix : matrices_of(spec)) {
    count += matrix.count * matrix.outputs * matrix.inputs;
  }
  const std::int64_t norms = spec.post_norms ? 4 : 2;
  const std::int64_t biases = spec.attention_bias ? spec.query_size() + 2 * spec.kv_size() : 0;
  const std::int64_t head_norms = spec.qk_norm ? 2 * spec.head_dim : 0;
  return count + spec.layers * (norms * spec.hidden + biases + head_norms) + spec.hidden;
}

std::int64_t weight_bytes(const ModelSpec& spec, kernel::Format format) {
  std::int64_t bytes = 0;
  for (const Matrix& matrix : matrices_of(spec)) {
    kernel::Panels shape;
    shape.format = format;
    shape.outputs = matrix.outputs;
    shape.inputs = matrix.inputs;
    bytes += matrix.count * static_cast<std::int64_t>(packed_bytes(shape));
  }
  return bytes;
}

std::int64_t kv_token_bytes(const ModelSpec& spec, KvFormat format) {
  return kv_page_bytes(spec, format) / kPageTokens;
}

}  // namespace genesis::model
