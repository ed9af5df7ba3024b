// Opens a weights file: tells the format, runs its reader, checks names, and keeps the mapping
// alive.
#include "weights/tensor_file.h"

#include "base/file.h"
#include "weights/file_contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <sys/mman.h>
#include <utility>

namespace genesis::weights {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::string_view kConvertHint =
    "python -c \"import sys, torch; from safetensors.torch import save_file; "
    "save_file(torch.load(sys.argv[1], weights_only=True), 'model.safetensors')\" FILE";

class ParsedFile final : public TensorFile {
 public:
  ParsedFile(std::string_view format,
             FileContents contents,
             std::vector<std::size_t> by_name,
             Kept kept)
      : format_(format),
        contents_(std::move(contents)),
        by_name_(std::move(by_name)),
        kept_(std::move(kept)) {}

  std::string_view format() const override { return format_; }

  const std::vector<TensorView>& tensors() const override { return contents_.tensors; }

  const TensorView* find(std::string_view name) const override {
    const auto& tensors = contents_.tensors;
    const auto at = std::ranges::lower_bound(
        by_name_, name, {}, [&](std::size_t i) { return std::string_view(tensors[i].name); });
    return at != by_name_.end() && tensors[*at].name == name ? &tensors[*at] : nullptr;
  }

  const std::map<std::string, MetadataValue, std::less<>>& metadata() const override {
    return contents_.metadata;
  }

  std::uint64_t described_bytes() const override { return contents_.described_bytes; }

  const std::vector<std::filesystem::path>& files() const override { return kept_.files; }

  void release(Bytes bytes) const override {
    constexpr std::uintptr_t kPage = 4096;
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    const auto end = begin + bytes.size();
    // Only pages of a file come back; what was joined in memory, or is the caller's, would be lost.
    const bool mapped = std::ranges::any_of(kept_.mappings, [&](const MappedFile& mapping) {
      const auto first = reinterpret_cast<std::uintptr_t>(mapping.bytes().data());
      return begin >= first && end <= first + mapping.bytes().size();
    });
    const std::uintptr_t first_page = (begin + kPage - 1) & ~(kPage - 1);
    const std::uintptr_t last_page = end & ~(kPage - 1);
    if (mapped && first_page < last_page) {
      // On failure the pages stay until memory is short.
      static_cast<void>(
          ::madvise(reinterpret_cast<void*>(first_page), last_page - first_page, MADV_DONTNEED));
    }
  }

 private:
  std::string_view format_;
  FileContents contents_;
  std::vector<std::size_t> by_name_;  // sorted: no hash table that a hostile file could degrade
  Kept kept_;
};

bool begins_with(Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(), [](char c, std::uint8_t b) {
           return static_cast<std::uint8_t>(c) == b;
         });
}

// A safetensors file has no magic: eight bytes of header length, then '{'.
bool looks_like_safetensors(Bytes bytes) {
  return bytes.size() > 8 && bytes[8] == '{';
}

std::unexpected<Error> refuse_unknown(Bytes bytes) {
  if (bytes.empty()) {
    return fail(ErrorCode::kDataLoss, "the weights file is empty", "fetch it again");
  }
  if (bytes[0] == 0x80 || begins_with(bytes, "PK\x03\x04")) {
    return fail(ErrorCode::kUnsupported,
                "this is a pickle checkpoint; loading one can run any program, so it is refused",
                fmt::format("convert it in a sandbox: {}", kConvertHint));
  }
  for (const std::string_view magic : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (begins_with(bytes, magic)) {
      return fail(ErrorCode::kUnsupported,
                  "this is a GGML file from before GGUF",
                  "get the model's GGUF or safetensors file");
    }
  }
  if (begins_with(bytes, "\x89HDF")) {
    return fail(ErrorCode::kUnsupported,
                "this is an HDF5 (Keras) file",
                "get the model's GGUF or safetensors file");
  }
  return fail(ErrorCode::kUnsupported,
              "the file is neither GGUF nor safetensors",
              "GGUF begins with the letters 'GGUF', safetensors has '{' at byte 8");
}

// Indices of the tensors in the order of their names; refuses an empty or repeated name.
Result<std::vector<std::size_t>> index_names(const std::vector<TensorView>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto name = [&](std::size_t i) { return std::string_view(tensors[i].name); };
  std::ranges::sort(order, {}, name);
  const auto repeated = std::ranges::adjacent_find(order, {}, name);
  if (repeated != order.end()) {
    return fail(ErrorCode::kDataLoss, fmt::format("tensor '{}' is listed twice", name(*repeated)));
  }
  if (!order.empty() && name(order.front()).empty()) {
    return fail(ErrorCode::kDataLoss, "a tensor has an empty name");
  }
  return order;
}

// `format` is left empty unless the bytes are of one that is read.
struct Parsed {
  std::string_view format;
  FileContents contents;
};

Result<Parsed> parse(Bytes bytes, Reading reading) {
  Parsed parsed;
  if (begins_with(bytes, "GGUF")) {
    parsed.format = "gguf";
    GENESIS_TRY(parsed.contents, read_gguf(bytes, reading));
  } else if (begins_with(bytes, "FUGG")) {
    return fail(ErrorCode::kUnsupported,
                "this is a big-endian GGUF file",
                "get the little-endian file, or convert it with gguf-convert-endian");
  } else if (looks_like_safetensors(bytes)) {
    parsed.format = "safetensors";
    GENESIS_TRY(parsed.contents, read_safetensors(bytes, reading));
  } else {
    return refuse_unknown(bytes);
  }
  return parsed;
}

Result<std::shared_ptr<const TensorFile>> make(Parsed parsed, Kept kept, Reading reading) {
  if (reading == Reading::kWhole) {
    GENESIS_TRY_VOID(join_nf4(parsed.contents, kept));
  }
  return make_tensor_file(parsed.format, std::move(parsed.contents), std::move(kept));
}

std::unexpected<Error> about_file(Error error, const std::filesystem::path& path) {
  error.message = fmt::format("{}: {}", path.string(), error.message);
  error.param = path.string();
  return std::unexpected(std::move(error));
}

Result<std::shared_ptr<const TensorFile>> open_one(const std::filesystem::path& path,
                                                   Reading reading) {
  GENESIS_TRY(auto mapping, MappedFile::open(path));
  auto parsed = parse(mapping.bytes(), reading);
  if (!parsed) {
    return about_file(std::move(parsed).error(), path);
  }
  Kept kept;
  kept.mappings.push_back(std::move(mapping));
  kept.files.push_back(path);
  auto file = make(*std::move(parsed), std::move(kept), reading);
  return file ? std::move(file) : about_file(std::move(file).error(), path);
}

template <typename T>
const T* metadata_as(const TensorFile& file, std::string_view key) {
  const auto at = file.metadata().find(key);
  return at == file.metadata().end() ? nullptr : std::get_if<T>(&at->second);
}

}  // namespace

std::int64_t TensorView::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Result<std::shared_ptr<const TensorFile>> make_tensor_file(std::string_view format,
                                                           FileContents contents,
                                                           Kept kept) {
  GENESIS_TRY(auto order, index_names(contents.tensors));
  return std::make_shared<const ParsedFile>(
      format, std::move(contents), std::move(order), std::move(kept));
}

Result<std::shared_ptr<const TensorFile>> TensorFile::open(const std::filesystem::path& path) {
  if (is_shard_index(path) || is_gguf_part(path)) {
    auto file = is_shard_index(path) ? open_sharded(path) : open_gguf_parts(path);
    return file ? std::move(file) : about_file(std::move(file).error(), path);
  }
  return open_one(path, Reading::kWhole);
}

Result<std::shared_ptr<const TensorFile>> TensorFile::open_header(
    const std::filesystem::path& path) {
  return open_one(path, Reading::kHeader);
}

Result<std::shared_ptr<const TensorFile>> TensorFile::from_bytes(Bytes bytes) {
  GENESIS_TRY(auto parsed, parse(bytes, Reading::kWhole));
  return make(std::move(parsed), {}, Reading::kWhole);
}

std::optional<std::int64_t> metadata_integer(const TensorFile& file, std::string_view key) {
  if (const auto* value = metadata_as<std::int64_t>(file, key)) {
    return *value;
  }
  const auto* value = metadata_as<std::uint64_t>(file, key);
  if (value == nullptr || !std::in_range<std::int64_t>(*value)) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*value);
}

std::optional<double> metadata_number(const TensorFile& file, std::string_view key) {
  if (const auto* value = metadata_as<double>(file, key)) {
    return *value;
  }
  const auto integer = metadata_integer(file, key);
  return integer ? std::optional(static_cast<double>(*integer)) : std::nullopt;
}

std::optional<bool> metadata_bool(const TensorFile& file, std::string_view key) {
  const auto* value = metadata_as<bool>(file, key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::string> metadata_string(const TensorFile& file, std::string_view key) {
  const auto* value = metadata_as<std::string>(file, key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

Result<std::int64_t> count_elements(std::span<const std::int64_t> shape, std::string_view tensor) {
  std::int64_t total = 1;
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(total, extent, &total)) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("tensor '{}' has more elements than 64 bits can count", tensor));
    }
  }
  return total;
}

Result<std::uint64_t> stored_bytes(TensorType type,
                                   std::int64_t elements,
                                   std::string_view tensor) {
  const BlockLayout layout = block_layout(type);
  const auto count = static_cast<std::uint64_t>(elements);
  std::uint64_t bytes = 0;
  if (count % layout.elements != 0) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("tensor '{}' has {} elements, not whole {} blocks of {}",
                            tensor,
                            count,
                            tensor_type_name(type),
                            layout.elements));
  }
  if (__builtin_mul_overflow(count / layout.elements, std::uint64_t{layout.bytes}, &bytes)) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("tensor '{}' is larger than 64 bits can count", tensor));
  }
  return bytes;
}

}  // namespace genesis::weights
