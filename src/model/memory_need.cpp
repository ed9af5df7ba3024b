// Sums over the tensor table; free memory from the kernel's own files.
#include "model/memory_need.h"

#include "base/file.h"
#include "model/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>
#include <sys/resource.h>

namespace genesis::model {
namespace {

using weights::TensorType;

constexpr std::int64_t kStepRows = 512;  // rows computed together: kMaxRows of executor.cpp
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// Files of /proc and /sys have no size, so read_file() cannot read them.
std::string kernel_file(const char* path) {
  std::ifstream in(path);
  std::string text(4096, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return text;
}

std::optional<std::int64_t> number_after(std::string_view text, std::string_view label) {
  const auto at = text.find(label);
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  text.remove_prefix(at + label.size());
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

// What RLIMIT_AS leaves: the gateway caps its engines by it.
std::optional<std::int64_t> address_space_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return std::nullopt;
  }
  const auto used = number_after(kernel_file("/proc/self/status"), "VmSize:");
  return static_cast<std::int64_t>(limit.rlim_cur) - used.value_or(0) * 1024;
}

std::int64_t matrix_bytes(const weights::TensorView& tensor, bool fp32) {
  const std::int64_t values = tensor.elements();
  if (fp32) {
    return values * 4;
  }
  // Bits of a packed value with its scale (and minimum): kernel/layout.h.
  const bool four = tensor.type == TensorType::kQ4_0 || tensor.type == TensorType::kQ4_1;
  return four ? values / 32 * 20 : values / 32 * 34;
}

}  // namespace

MemoryNeed memory_need(const weights::TensorFile& file,
                       const ModelSpec& spec,
                       const LoadOptions& options) {
  const bool fp32 = options.precision == Precision::kFp32;
  MemoryNeed need{.keys_values = options.kv_bytes};
  std::int64_t vectors = 0;
  for (const weights::TensorView& tensor : file.tensors()) {
    if (tensor.shape.size() == 2) {
      need.weights += matrix_bytes(tensor, fp32);
    } else {
      vectors += tensor.elements() * 4;
    }
  }
  // Residual, normed, attended and MLP rows, as floats at most; twice the vocabulary's text (about
  // 100 bytes a token in both directions) and a row of logits.
  const std::int64_t row = 2LL * spec.hidden + spec.query_size() + 2LL * spec.kv_size() + spec.mlp;
  need.scratch = vectors + kStepRows * row * 4 + spec.vocab * 204LL;
  return need;
}

std::int64_t memory_free() {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  if (const auto kib = number_after(kernel_file("/proc/meminfo"), "MemAvailable:")) {
    least = *kib * 1024;
  }
  const auto limit = number_after(kernel_file("/sys/fs/cgroup/memory.max"), "");
  const auto used = number_after(kernel_file("/sys/fs/cgroup/memory.current"), "");
  if (limit && used) {
    least = std::min(least, *limit - *used);
  }
  if (const auto left = address_space_left()) {
    least = std::min(least, *left);
  }
  return least == std::numeric_limits<std::int64_t>::max() ? 0 : std::max<std::int64_t>(least, 1);
}

std::string memory_sentence(const MemoryNeed& need, std::int64_t free_bytes) {
  const auto gib = [](std::int64_t bytes) { return static_cast<double>(bytes) / kGiB; };
  return fmt::format(
      "weights {:.2f} GiB, keys and values {:.2f} GiB, scratch {:.2f} GiB: needs {:.2f} GiB of "
      "{:.2f} GiB free",
      gib(need.weights),
      gib(need.keys_values),
      gib(need.scratch),
      gib(need.total()),
      gib(free_bytes));
}

Result<void> check_memory(const MemoryNeed& need, std::int64_t free_bytes) {
  if (free_bytes > 0 && need.total() > free_bytes) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("the model does not fit: {}", memory_sentence(need, free_bytes)),
                "free memory, lower --kv-mib, choose a smaller quantization, or add --force");
  }
  return {};
}

}  // namespace genesis::model
