// A small random PEFT adapter as the two files that save_pretrained() writes, for the tests of this
// room. What a test wants to lie about can be set before config() or safetensors().
#pragma once

#include "base/check.h"
#include "base/random.h"
#include "model/adapter.h"
#include "weights/test_files.h"

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace genesis::model {

struct TestAdapter {
  std::uint64_t seed = 1;
  int rank = 4;
  std::string extra;  // more members of adapter_config.json, each with a leading comma
  float size = 0.2F;  // of the values
  // Last word on the values of a tensor.
  std::function<void(const std::string& name, std::vector<float>& values)> edit;
  std::string skip;        // name of a tensor to leave out
  std::string type;        // dtype to declare instead of F32
  int outer_too_many = 0;  // added to the outer size of every A

  std::string config(bool fused = false) const {
    return fmt::format(R"({{"peft_type":"LORA","r":{},"lora_alpha":8,)"
                       R"("target_modules":[{},"o_proj","down_proj"]{}}})",
                       rank,
                       fused ? R"("qkv_proj","gate_up_proj")" : R"("q_proj","v_proj","gate_proj")",
                       extra);
  }

  std::string safetensors(const ModelSpec& spec) const {
    Random random(seed);
    std::string header = "{";
    std::string data;
    const auto add = [&](const std::string& name, int outer, int inner) {
      std::vector<float> values(static_cast<std::size_t>(outer) * static_cast<std::size_t>(inner));
      for (float& v : values) {
        v = size * (2.0F * static_cast<float>(random.uniform()) - 1.0F);
      }
      if (edit) {
        edit(name, values);
      }
      if (name == skip) {
        return;
      }
      const std::size_t begin = data.size();
      for (const float v : values) {
        data += weights::testing::raw(v);
      }
      header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{},{}],"data_offsets":[{},{}]}})",
                            header.size() > 1 ? "," : "",
                            name,
                            type.empty() ? "F32" : type,
                            outer,
                            inner,
                            begin,
                            data.size());
    };
    for (int i = 0; i < spec.layers; ++i) {
      std::vector<std::tuple<std::string, int, int>> modules{
          {"self_attn.o_proj", spec.query_size(), spec.hidden},
          {"mlp.down_proj", spec.mlp, spec.hidden}};
      if (spec.fused) {
        modules.emplace_back(
            "self_attn.qkv_proj", spec.hidden, spec.query_size() + 2 * spec.kv_size());
        modules.emplace_back("mlp.gate_up_proj", spec.hidden, 2 * spec.mlp);
      } else {
        modules.emplace_back("self_attn.q_proj", spec.hidden, spec.query_size());
        modules.emplace_back("self_attn.v_proj", spec.hidden, spec.kv_size());
        modules.emplace_back("mlp.gate_proj", spec.hidden, spec.mlp);
      }
      for (const auto& [name, inputs, outputs] : modules) {
        const std::string module = fmt::format("base_model.model.model.layers.{}.{}", i, name);
        add(module + ".lora_A.weight", rank + outer_too_many, inputs);
        add(module + ".lora_B.weight", outputs, rank);
      }
    }
    return weights::testing::safetensors_file(header + "}", data);
  }

  Result<std::shared_ptr<const Adapter>> build(const ModelSpec& spec, bool fp32 = false) const {
    const std::string bytes = safetensors(spec);
    const auto file = weights::TensorFile::from_bytes(weights::testing::as_bytes(bytes));
    if (!file) {
      return std::unexpected(file.error());
    }
    return build_adapter(config(spec.fused), **file, spec, fp32);
  }
};

}  // namespace genesis::model
