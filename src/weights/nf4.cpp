// 4-bit weights of bitsandbytes as transformers saves them. One matrix is up to six tensors:
//   X                                   U8, two codes a byte, the first in the high half
//   X.absmax                            the scale of each 64 codes: F32, or U8 when quantized again
//   X.quant_map                         F32[16], the values of the codes
//   X.nested_absmax, X.nested_quant_map F32: absmax = map[byte] * nested_absmax[block] + offset
//   X.quant_state.bitsandbytes__nf4     U8, JSON: quant_type, blocksize, shape, nested_offset, ...
// (bitsandbytes functional.py, QuantState.as_dict and dequantize_4bit.) The sums are done here in
// single precision in the same order, so that the values are exactly bitsandbytes' own.
#include "base/json.h"
#include "weights/file_contents.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#pragma clang fp contract(off)

namespace genesis::weights {

namespace {

constexpr std::string_view kStateMark = ".quant_state.bitsandbytes__";
constexpr std::size_t kBlock = 64;       // values of one kNF4 block
constexpr std::size_t kBlockBytes = 36;  // float scale, 32 bytes of codes
constexpr std::size_t kMaxStateBytes = 64 * 1024;

std::unexpected<Error> damaged(std::string_view name, std::string message) {
  return fail_param(
      std::string(name), fmt::format("tensor '{}': {}", name, message), ErrorCode::kDataLoss);
}

std::unexpected<Error> unsupported(std::string_view name, std::string message) {
  Error error =
      fail_param(
          std::string(name), fmt::format("tensor '{}': {}", name, message), ErrorCode::kUnsupported)
          .error();
  error.hint = "save the model with bnb_4bit_quant_type='nf4', or unquantized";
  return std::unexpected(std::move(error));
}

struct State {
  std::vector<std::int64_t> shape;
  std::size_t block = 0;
  std::size_t nested_block = 0;  // 0: the scales are floats
  float nested_offset = 0;
};

using Names = std::map<std::string, const TensorView*, std::less<>>;

std::string_view text_of(const TensorView& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
}

Result<State> read_state(std::string_view name, const TensorView& stored) {
  if (stored.type != TensorType::kU8 || stored.data.size() > kMaxStateBytes) {
    return damaged(name, "its quant_state is not a short text");
  }
  GENESIS_TRY(const boost::json::value document, parse_json(text_of(stored)));
  const auto* object = document.if_object();
  if (object == nullptr) {
    return damaged(name, "its quant_state is not a JSON object");
  }
  State state;
  GENESIS_TRY(const auto block, get_integer(*object, "blocksize"));
  GENESIS_TRY(const auto nested, get_integer(*object, "nested_blocksize"));
  GENESIS_TRY(const auto offset, get_number(*object, "nested_offset"));
  const auto* shape = object->if_contains("shape");
  if (!block || *block < 1 || *block > 1 << 20 || shape == nullptr || !shape->is_array() ||
      shape->get_array().size() != 2 || (nested && (*nested < 1 || *nested > 1 << 20))) {
    return damaged(name, "its quant_state lacks a possible blocksize or a shape of two numbers");
  }
  if (static_cast<std::size_t>(*block) % kBlock != 0) {
    return unsupported(name, fmt::format("a blocksize of {} is no multiple of 64", *block));
  }
  for (const auto& extent : shape->get_array()) {
    if (!extent.is_int64() || extent.get_int64() < 1) {
      return damaged(name, "its quant_state has an impossible shape");
    }
    state.shape.push_back(extent.get_int64());
  }
  state.block = static_cast<std::size_t>(*block);
  state.nested_block = static_cast<std::size_t>(nested.value_or(0));
  state.nested_offset = static_cast<float>(offset.value_or(0.0));
  return state;
}

Result<std::span<const std::uint8_t>> part(const Names& names,
                                           std::string_view name,
                                           std::string_view suffix,
                                           TensorType type,
                                           std::size_t elements) {
  const std::string full = fmt::format("{}.{}", name, suffix);
  const auto at = names.find(full);
  if (at == names.end()) {
    return damaged(name, fmt::format("'{}' is missing", full));
  }
  const TensorView& tensor = *at->second;
  if (tensor.type != type || std::cmp_not_equal(tensor.elements(), elements)) {
    return damaged(name,
                   fmt::format("'{}' must hold {} values of {}, not {} of {}",
                               full,
                               elements,
                               tensor_type_name(type),
                               tensor.elements(),
                               tensor_type_name(tensor.type)));
  }
  return tensor.data;
}

float float_at(std::span<const std::uint8_t> bytes, std::size_t index) {
  float value = 0;
  std::memcpy(&value, bytes.data() + index * sizeof(float), sizeof(value));
  return value;
}

Result<std::vector<float>> read_scales(const Names& names,
                                       std::string_view name,
                                       const State& state,
                                       std::size_t count) {
  std::vector<float> scales(count);
  if (state.nested_block == 0) {
    GENESIS_TRY(const auto plain, part(names, name, "absmax", TensorType::kF32, count));
    std::memcpy(scales.data(), plain.data(), plain.size());
  } else {
    const std::size_t outer = (count + state.nested_block - 1) / state.nested_block;
    GENESIS_TRY(const auto codes, part(names, name, "absmax", TensorType::kU8, count));
    GENESIS_TRY(const auto nested, part(names, name, "nested_absmax", TensorType::kF32, outer));
    GENESIS_TRY(const auto map, part(names, name, "nested_quant_map", TensorType::kF32, 256));
    for (std::size_t i = 0; i < count; ++i) {
      const float scaled = float_at(map, codes[i]) * float_at(nested, i / state.nested_block);
      scales[i] = scaled + state.nested_offset;
    }
  }
  for (const float scale : scales) {
    if (!std::isfinite(scale)) {
      return damaged(name, "a scale is not finite");
    }
  }
  return scales;
}

Result<void> check_map(const Names& names, std::string_view name) {
  GENESIS_TRY(const auto map, part(names, name, "quant_map", TensorType::kF32, 16));
  const std::span<const float> known = nf4_values();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (float_at(map, i) != known[i]) {
      return unsupported(name, "its quant_map is not that of NF4");
    }
  }
  return {};
}

struct Joined {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> blocks;
};

Result<Joined> join(const Names& names, std::string_view name, const TensorView& stored_state) {
  GENESIS_TRY(State state, read_state(name, stored_state));
  GENESIS_TRY(const auto elements, count_elements(state.shape, name));
  const auto count = static_cast<std::size_t>(elements);
  const auto weight = names.find(name);
  if (weight == names.end() || weight->second->type != TensorType::kU8 || count % kBlock != 0 ||
      weight->second->data.size() != count / 2) {
    return damaged(name,
                   fmt::format("a shape of [{}, {}] needs {} bytes of codes in whole blocks of 64",
                               state.shape[0],
                               state.shape[1],
                               count / 2));
  }
  GENESIS_TRY_VOID(check_map(names, name));
  const std::size_t scales_count = (count + state.block - 1) / state.block;
  GENESIS_TRY(const auto scales, read_scales(names, name, state, scales_count));
  Joined joined{.shape = std::move(state.shape), .blocks = {}};
  joined.blocks.resize(count / kBlock * kBlockBytes);
  const std::uint8_t* codes = weight->second->data.data();
  for (std::size_t i = 0; i < count / kBlock; ++i) {
    std::uint8_t* block = joined.blocks.data() + i * kBlockBytes;
    std::memcpy(block, &scales[i * kBlock / state.block], sizeof(float));
    std::memcpy(block + sizeof(float), codes + i * kBlock / 2, kBlock / 2);
  }
  return joined;
}

}  // namespace

Result<void> join_nf4(FileContents& contents, Kept& kept) {
  std::vector<std::pair<std::string, const TensorView*>> states;  // weight name, its quant_state
  for (const TensorView& tensor : contents.tensors) {
    const auto mark = tensor.name.find(kStateMark);
    if (mark == std::string::npos) {
      continue;
    }
    const std::string weight = tensor.name.substr(0, mark);
    const std::string_view kind = std::string_view(tensor.name).substr(mark + kStateMark.size());
    if (kind != "nf4") {
      return unsupported(weight, fmt::format("its 4-bit format '{}' is not supported", kind));
    }
    states.emplace_back(weight, &tensor);
  }
  if (states.empty()) {
    return {};
  }
  Names names;
  for (const TensorView& tensor : contents.tensors) {
    names.emplace(tensor.name, &tensor);
  }
  std::set<std::string, std::less<>> used;
  std::vector<TensorView> made;
  for (const auto& [name, state] : states) {
    GENESIS_TRY(Joined joined, join(names, name, *state));
    kept.buffers.push_back(std::move(joined.blocks));
    made.push_back({.name = name,
                    .type = TensorType::kNF4,
                    .shape = std::move(joined.shape),
                    .data = kept.buffers.back()});
    used.insert(state->name);
    for (const std::string_view suffix :
         {"", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"}) {
      used.insert(fmt::format("{}{}", name, suffix));
    }
  }
  std::erase_if(contents.tensors,
                [&](const TensorView& tensor) { return used.contains(tensor.name); });
  std::ranges::move(made, std::back_inserter(contents.tensors));
  return {};
}

}  // namespace genesis::weights
