// Models whose tensors lie in several files. Safetensors: `*.safetensors.index.json` of Hugging
// Face, {"metadata": {"total_size": N}, "weight_map": {tensor: file}}. GGUF: llama.cpp's
// `name-00001-of-00003.gguf`, whose first part has the metadata and every part the keys split.no,
// split.count and split.tensors.count. Index and parts are hostile: files are opened by plain name
// in the index's own folder only, and what the index and the files say must agree exactly.
#include "base/json.h"
#include "weights/file_contents.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

namespace genesis::weights {

namespace {

constexpr std::size_t kMaxIndexBytes = 64U << 20;  // 128 thousand tensors of 500 bytes each
constexpr std::size_t kMaxShards = 1000;           // the largest published model has 191

std::unexpected<Error> damaged(std::string message) {
  return fail(ErrorCode::kDataLoss, std::move(message), "fetch the model again");
}

// tensor name -> file name, both as the index has them.
using WeightMap = std::map<std::string, std::string, std::less<>>;

struct Index {
  WeightMap files;
  std::optional<std::int64_t> total_bytes;
};

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.front() != '.' &&
         std::ranges::none_of(name, [](char c) { return c == '/' || c == '\\' || c == '\0'; });
}

Result<Index> read_index(std::string_view text) {
  GENESIS_TRY(const boost::json::value document, parse_json(text));
  const auto* object = document.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains("weight_map");
  const auto* map = found == nullptr ? nullptr : found->if_object();
  if (map == nullptr || map->empty()) {
    return damaged("the index has no weight_map");
  }
  Index index;
  for (const auto& member : *map) {
    const auto* file = member.value().if_string();
    if (file == nullptr || !is_plain_name(*file) || !file->ends_with(".safetensors")) {
      return damaged(
          fmt::format("weight_map: tensor '{}' does not name a safetensors file of the same folder",
                      std::string_view(member.key())));
    }
    if (!index.files.emplace(member.key(), std::string(*file)).second) {
      return damaged(
          fmt::format("weight_map lists tensor '{}' twice", std::string_view(member.key())));
    }
  }
  if (const auto* metadata = object->if_contains("metadata");
      metadata != nullptr && metadata->is_object()) {
    // Written as a float by some versions of transformers; then it is not checked.
    const auto* total = metadata->get_object().if_contains("total_size");
    if (total != nullptr && total->is_int64()) {
      index.total_bytes = total->get_int64();
    }
  }
  return index;
}

Result<void> add_shard(const std::filesystem::path& path,
                       const Index& index,
                       FileContents& all,
                       Kept& kept) {
  const std::string name = path.filename().string();
  GENESIS_TRY(auto mapping, MappedFile::open(path));
  auto contents = read_safetensors(mapping.bytes(), Reading::kWhole);
  if (!contents) {
    Error error = std::move(contents).error();
    error.message = fmt::format("{}: {}", name, error.message);
    return std::unexpected(std::move(error));
  }
  for (TensorView& tensor : contents->tensors) {
    const auto at = index.files.find(tensor.name);
    if (at == index.files.end() || at->second != name) {
      return damaged(fmt::format("{} holds tensor '{}', which the index {}",
                                 name,
                                 tensor.name,
                                 at == index.files.end() ? "does not list" : "puts elsewhere"));
    }
    all.tensors.push_back(std::move(tensor));
  }
  all.metadata.merge(std::move(contents->metadata));
  all.described_bytes += contents->described_bytes;
  kept.mappings.push_back(std::move(mapping));
  kept.files.push_back(path);
  return {};
}

Result<void> check_whole(const Index& index, const FileContents& all) {
  std::set<std::string_view> there;
  std::uint64_t bytes = 0;
  for (const TensorView& tensor : all.tensors) {
    there.insert(tensor.name);
    bytes += tensor.data.size();
  }
  for (const auto& [name, file] : index.files) {
    if (!there.contains(name)) {
      return damaged(fmt::format("{} lacks tensor '{}', which the index puts there", file, name));
    }
  }
  if (index.total_bytes && std::cmp_not_equal(*index.total_bytes, bytes)) {
    return damaged(fmt::format(
        "the index says {} bytes of tensors; its files hold {}", *index.total_bytes, bytes));
  }
  return {};
}

// "name-00001-of-00003.gguf": the stem "name", number and count.
struct PartName {
  std::string stem;
  int number = 0;
  int count = 0;
};

std::optional<int> five_digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return text.size() == 5 && error == std::errc() && end == text.data() + text.size()
             ? std::optional(value)
             : std::nullopt;
}

std::optional<PartName> part_name(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kTail = "-00001-of-00003.gguf";
  if (name.size() <= kTail.size() || !name.ends_with(".gguf")) {
    return std::nullopt;
  }
  const std::size_t tail = name.size() - kTail.size();
  const std::string_view text = std::string_view(name).substr(tail);
  const auto number = five_digits(text.substr(1, 5));
  const auto count = five_digits(text.substr(10, 5));
  if (text[0] != '-' || text.substr(6, 4) != "-of-" || !number || !count) {
    return std::nullopt;
  }
  return PartName{.stem = name.substr(0, tail), .number = *number, .count = *count};
}

std::optional<std::uint64_t> unsigned_value(const FileContents& contents, std::string_view key) {
  const auto at = contents.metadata.find(key);
  if (at == contents.metadata.end()) {
    return std::nullopt;
  }
  if (const auto* value = std::get_if<std::uint64_t>(&at->second)) {
    return *value;
  }
  const auto* value = std::get_if<std::int64_t>(&at->second);
  return value != nullptr && *value >= 0 ? std::optional(static_cast<std::uint64_t>(*value))
                                         : std::nullopt;
}

}  // namespace

bool is_shard_index(const std::filesystem::path& path) {
  return path.filename().string().ends_with(".safetensors.index.json");
}

bool is_gguf_part(const std::filesystem::path& path) {
  return part_name(path).has_value();
}

Result<std::shared_ptr<const TensorFile>> open_sharded(const std::filesystem::path& index_path) {
  GENESIS_TRY(const std::string text, read_file(index_path, kMaxIndexBytes));
  GENESIS_TRY(const Index index, read_index(text));
  std::set<std::string> names;
  for (const auto& [tensor, file] : index.files) {
    names.insert(file);
  }
  if (names.size() > kMaxShards) {
    return damaged(
        fmt::format("the index names {} files; {} are allowed", names.size(), kMaxShards));
  }
  FileContents all;
  Kept kept;
  for (const std::string& name : names) {
    GENESIS_TRY_VOID(add_shard(index_path.parent_path() / name, index, all, kept));
  }
  GENESIS_TRY_VOID(check_whole(index, all));
  GENESIS_TRY_VOID(join_nf4(all, kept));
  return make_tensor_file("safetensors", std::move(all), std::move(kept));
}

Result<std::shared_ptr<const TensorFile>> open_gguf_parts(const std::filesystem::path& part) {
  const PartName named = *part_name(part);
  if (named.count < 1 || std::cmp_greater(named.count, kMaxShards) || named.number < 1 ||
      named.number > named.count) {
    return damaged(fmt::format("part {} of {} cannot be", named.number, named.count));
  }
  FileContents all;
  Kept kept;
  for (int i = 1; i <= named.count; ++i) {
    const std::string name = fmt::format("{}-{:05}-of-{:05}.gguf", named.stem, i, named.count);
    GENESIS_TRY(auto mapping, MappedFile::open(part.parent_path() / name));
    GENESIS_TRY(auto contents, read_gguf(mapping.bytes(), Reading::kWhole));
    if (unsigned_value(contents, "split.no") != static_cast<std::uint64_t>(i - 1) ||
        unsigned_value(contents, "split.count") != static_cast<std::uint64_t>(named.count)) {
      return damaged(fmt::format("{} does not say that it is part {} of {} (split.no, split.count)",
                                 name,
                                 i,
                                 named.count));
    }
    std::ranges::move(contents.tensors, std::back_inserter(all.tensors));
    all.metadata.merge(std::move(contents.metadata));  // the first part's stay
    all.described_bytes += contents.described_bytes;
    kept.mappings.push_back(std::move(mapping));
    kept.files.push_back(part.parent_path() / name);
  }
  if (const auto total = unsigned_value(all, "split.tensors.count");
      total && *total != all.tensors.size()) {
    return damaged(fmt::format(
        "the parts hold {} tensors; split.tensors.count says {}", all.tensors.size(), *total));
  }
  return make_tensor_file("gguf", std::move(all), std::move(kept));
}

}  // namespace genesis::weights
