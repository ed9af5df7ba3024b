// Double-precision forward pass of any ModelSpec under GGUF's names, for tests.
#include "model/reference_forward.h"

#include "base/check.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

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
      for (double& v : rows.back()) {
        v *= static_cast<double>(spec_.embedding_scale);
      }
    }
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
      layer(i, rows);
    }
    const Vector norm = load("output_norm.weight");
    const Vector head = spec_.tied_head ? table : load("output.weight");
    Vector logits;
    for (const Vector& row : rows) {
      Vector y = linear(head, rms(row, norm), hidden);
      for (double& v : y) {
        v = capped(v, spec_.logit_softcap);
      }
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

  static double capped(double v, float cap) {
    const auto c = static_cast<double>(cap);
    return cap > 0.0F ? c * std::tanh(v / c) : v;
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

  // Norms each head, if the model does, and turns it.
  void place(Vector& heads, const std::string& norm, std::size_t position, bool local) const {
    const auto dim = static_cast<std::size_t>(spec_.head_dim);
    const auto half = static_cast<std::size_t>(spec_.rotary_dim / 2);
    const bool adjacent = spec_.rotary_pairs == RotaryPairs::kAdjacent;
    const double base = local ? spec_.local_rotary_base : spec_.rotary_base;
    for (std::size_t at = 0; at < heads.size(); at += dim) {
      if (spec_.qk_norm) {
        const auto begin = heads.begin() + static_cast<std::ptrdiff_t>(at);
        std::ranges::copy(rms({begin, begin + spec_.head_dim}, load(norm)), begin);
      }
      for (std::size_t i = 0; i < half; ++i) {
        const double factor = spec_.rotary_factors.empty() || local
                                  ? 1.0
                                  : static_cast<double>(spec_.rotary_factors[i]);
        const double angle = static_cast<double>(position) / factor *
                             std::pow(base, -2.0 * static_cast<double>(i) / spec_.rotary_dim);
        double& x = heads[at + (adjacent ? 2 * i : i)];
        double& y = heads[at + (adjacent ? 2 * i + 1 : i + half)];
        const double a = x;
        const double b = y;
        x = a * std::cos(angle) - b * std::sin(angle);
        y = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  // The last of the keys is the query's own.
  Vector attend(const Vector& q,
                const std::vector<Vector>& keys,
                const std::vector<Vector>& values,
                std::int32_t window) const {
    const std::size_t position = keys.size() - 1;
    const auto reach = static_cast<std::size_t>(window);
    const std::size_t first = window > 0 && position + 1 > reach ? position + 1 - reach : 0;
    const double scale = spec_.attention_scale > 0.0F ? static_cast<double>(spec_.attention_scale)
                                                      : 1.0 / std::sqrt(spec_.head_dim);
    const auto dim = static_cast<std::size_t>(spec_.head_dim);
    Vector out(q.size());
    for (std::size_t h = 0; h < static_cast<std::size_t>(spec_.heads); ++h) {
      const std::size_t kv = h / static_cast<std::size_t>(spec_.group()) * dim;
      Vector weights;
      double sum = 0.0;
      for (std::size_t t = first; t <= position; ++t) {
        double score = 0.0;
        for (std::size_t d = 0; d < dim; ++d) {
          score += q[h * dim + d] * keys[t][kv + d];
        }
        weights.push_back(std::exp(capped(score * scale, spec_.attention_softcap)));
        sum += weights.back();
      }
      for (std::size_t t = first; t <= position; ++t) {
        for (std::size_t d = 0; d < dim; ++d) {
          out[h * dim + d] += weights[t - first] / sum * values[t][kv + d];
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

  // Part of a fused projection.
  static Vector part(const Vector& all, std::int32_t first, std::int32_t count) {
    return {all.begin() + first, all.begin() + first + count};
  }

  struct Heads {
    Vector q, k, v;
  };

  Heads heads(const std::string& prefix, const Vector& x) const {
    if (!spec_.fused) {
      return {projected(prefix + "attn_q", x),
              projected(prefix + "attn_k", x),
              projected(prefix + "attn_v", x)};
    }
    const Vector all = projected(prefix + "attn_qkv", x);
    const std::int32_t q = spec_.query_size();
    const std::int32_t kv = spec_.kv_size();
    return {part(all, 0, q), part(all, q, kv), part(all, q + kv, kv)};
  }

  Vector mlp(const std::string& prefix, const Vector& x) const {
    Vector up = linear(load(prefix + "ffn_up.weight"), x, x.size());
    Vector gate = spec_.fused ? part(up, 0, spec_.mlp)
                              : linear(load(prefix + "ffn_gate.weight"), x, x.size());
    up = spec_.fused ? part(up, spec_.mlp, spec_.mlp) : up;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double u = std::sqrt(2.0 / std::numbers::pi) * (g + 0.044715 * g * g * g);
      const double activated = spec_.activation == Activation::kSilu
                                   ? g / (1.0 + std::exp(-g))
                                   : 0.5 * g * (1.0 + std::tanh(u));
      gate[i] = activated * up[i];
    }
    return linear(load(prefix + "ffn_down.weight"), gate, gate.size());
  }

  void join(Vector& row, const Vector& what, const std::string& post_norm) const {
    add(row, spec_.post_norms ? rms(what, load(post_norm)) : what);
  }

  void layer(std::int32_t index, std::vector<Vector>& rows) const {
    const std::string prefix = "blk." + std::to_string(index) + ".";
    const std::int32_t window = spec_.window_of(index);
    const bool local = window > 0 && spec_.local_rotary_base > 0.0;
    std::vector<Vector> keys;
    std::vector<Vector> values;
    for (std::size_t t = 0; t < rows.size(); ++t) {
      const Vector x = rms(rows[t], load(prefix + "attn_norm.weight"));
      Heads now = heads(prefix, x);
      place(now.q, prefix + "attn_q_norm.weight", t, local);
      place(now.k, prefix + "attn_k_norm.weight", t, local);
      keys.push_back(std::move(now.k));
      values.push_back(std::move(now.v));
      const Vector attended = attend(now.q, keys, values, window);
      join(rows[t],
           linear(load(prefix + "attn_output.weight"), attended, attended.size()),
           prefix + "post_attention_norm.weight");
      const Vector y = rms(rows[t], load(prefix + "ffn_norm.weight"));
      join(rows[t], mlp(prefix, y), prefix + "post_ffw_norm.weight");
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
