// Double-precision Llama, for tests.
#include "model/reference_forward.h"

#include "base/check.h"

#include <cmath>
#include <string>

namespace genesis::model {
namespace {

using Vector = std::vector<double>;

class Reference {
 public:
  Reference(const weights::TensorFile& file, const ModelSpec& spec) : file_(file), spec_(spec) {}

  Vector run(std::span<const std::int32_t> ids) const {
    const auto hidden = static_cast<std::size_t>(spec_.hidden);
    const Vector table = load("token_embd.weight");
    std::vector<Vector> rows;
    for (const std::int32_t id : ids) {
      const auto at = table.begin() + id * spec_.hidden;
      rows.emplace_back(at, at + spec_.hidden);
    }
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
      layer("blk." + std::to_string(i) + ".", rows);
    }
    const Vector norm = load("output_norm.weight");
    const Vector head = spec_.tied_head ? table : load("output.weight");
    Vector logits;
    for (const Vector& row : rows) {
      const Vector y = linear(head, rms(row, norm), hidden);
      logits.insert(logits.end(), y.begin(), y.end());
    }
    return logits;
  }

 private:
  Vector load(const std::string& name) const {
    const weights::TensorView* tensor = file_.find(name);
    GENESIS_CHECK(tensor != nullptr);
    std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
    GENESIS_CHECK(weights::dequantize(tensor->type, tensor->data, values).has_value());
    return {values.begin(), values.end()};
  }

  Vector rms(const Vector& x, const Vector& weight) const {
    double squares = 0.0;
    for (const double v : x) {
      squares += v * v;
    }
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) +
                                           static_cast<double>(spec_.norm_eps));
    Vector out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = x[i] * inverse * weight[i];
    }
    return out;
  }

  static Vector linear(const Vector& w, const Vector& x, std::size_t inputs) {
    Vector y(w.size() / inputs);
    for (std::size_t n = 0; n < y.size(); ++n) {
      for (std::size_t k = 0; k < inputs; ++k) {
        y[n] += w[n * inputs + k] * x[k];
      }
    }
    return y;
  }

  Vector projected(const std::string& name, const Vector& x) const {
    Vector y = linear(load(name + ".weight"), x, x.size());
    if (spec_.attention_bias) {
      const Vector bias = load(name + ".bias");
      for (std::size_t i = 0; i < y.size(); ++i) {
        y[i] += bias[i];
      }
    }
    return y;
  }

  void rotate(Vector& heads, std::size_t position) const {
    const auto dim = static_cast<std::size_t>(spec_.head_dim);
    for (std::size_t at = 0; at < heads.size(); at += dim) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(spec_.rotary_dim); i += 2) {
        const double angle =
            static_cast<double>(position) *
            std::pow(spec_.rotary_base, -static_cast<double>(i) / spec_.rotary_dim);
        const double a = heads[at + i];
        const double b = heads[at + i + 1];
        heads[at + i] = a * std::cos(angle) - b * std::sin(angle);
        heads[at + i + 1] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  Vector attend(const Vector& q,
                const std::vector<Vector>& keys,
                const std::vector<Vector>& values,
                std::size_t position) const {
    const auto dim = static_cast<std::size_t>(spec_.head_dim);
    Vector out(q.size());
    for (std::size_t h = 0; h < static_cast<std::size_t>(spec_.heads); ++h) {
      const std::size_t kv = h / static_cast<std::size_t>(spec_.group()) * dim;
      Vector weights;
      double sum = 0.0;
      for (std::size_t t = 0; t <= position; ++t) {
        double score = 0.0;
        for (std::size_t d = 0; d < dim; ++d) {
          score += q[h * dim + d] * keys[t][kv + d];
        }
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
        sum += weights.back();
      }
      for (std::size_t t = 0; t <= position; ++t) {
        for (std::size_t d = 0; d < dim; ++d) {
          out[h * dim + d] += weights[t] / sum * values[t][kv + d];
        }
      }
    }
    return out;
  }

  static void add(Vector& to, const Vector& what) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] += what[i];
    }
  }

  void layer(const std::string& prefix, std::vector<Vector>& rows) const {
    std::vector<Vector> keys;
    std::vector<Vector> values;
    for (std::size_t t = 0; t < rows.size(); ++t) {
      const Vector x = rms(rows[t], load(prefix + "attn_norm.weight"));
      Vector q = projected(prefix + "attn_q", x);
      keys.push_back(projected(prefix + "attn_k", x));
      values.push_back(projected(prefix + "attn_v", x));
      rotate(q, t);
      rotate(keys.back(), t);
      const Vector attended = attend(q, keys, values, t);
      add(rows[t], linear(load(prefix + "attn_output.weight"), attended, attended.size()));
      const Vector y = rms(rows[t], load(prefix + "ffn_norm.weight"));
      Vector gate = linear(load(prefix + "ffn_gate.weight"), y, y.size());
      const Vector up = linear(load(prefix + "ffn_up.weight"), y, y.size());
      for (std::size_t i = 0; i < gate.size(); ++i) {
        gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
      }
      add(rows[t], linear(load(prefix + "ffn_down.weight"), gate, gate.size()));
    }
  }

  const weights::TensorFile& file_;
  const ModelSpec& spec_;
};

}  // namespace

std::vector<double> reference_forward(const weights::TensorFile& file,
                                      const ModelSpec& spec,
                                      std::span<const std::int32_t> ids) {
  return Reference(file, spec).run(ids);
}

}  // namespace genesis::model
