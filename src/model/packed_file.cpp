// Layout, checks and writing of packed files.
#include "model/packed_file.h"

#include "base/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <unistd.h>
#include <utility>

namespace genesis::model {
namespace {

using kernel::Format;
using weights::GgufTensor;
using weights::TensorFile;
using weights::TensorType;
using weights::TensorView;

// Raised whenever kernel/layout.h or the order of packing changes what the bytes mean. The layout
// is the same for every instruction set, so the key needs none.
constexpr std::int64_t kLayoutVersion = 1;
constexpr std::size_t kSumBytes = 1U << 20;  // panels that one checksum covers
constexpr std::uint32_t kAlignment = 4096;   // a page, so that the region can be mapped by itself

constexpr std::string_view kVersionKey = "genesis.packed.layout";
constexpr std::string_view kFormatsKey = "genesis.packed.formats";
constexpr std::string_view kNamesKey = "genesis.packed.names";
constexpr std::string_view kShapesKey = "genesis.packed.shapes";  // rows, columns, type of each
constexpr std::string_view kPanels = "genesis.panels";
constexpr std::string_view kSums = "genesis.panel_sums";

std::unexpected<Error> damaged(std::string message) {
  return fail(ErrorCode::kDataLoss,
              fmt::format("packed file: {}", message),
              "make it again with genesis convert");
}

template <typename T>
const T* value_of(const TensorFile& file, std::string_view key) {
  const auto at = file.metadata().find(key);
  return at == file.metadata().end() ? nullptr : std::get_if<T>(&at->second);
}

// Four independent multiply-and-rotate chains over 32 bytes a turn (the structure of xxHash64, with
// its primes; BSD-licensed specification doc/xxhash_spec.md). Finds accidents, not attacks: the
// folder is the user's own.
std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  constexpr std::uint64_t kFirst = 0x9E3779B185EBCA87ULL;
  constexpr std::uint64_t kSecond = 0xC2B2AE3D27D4EB4FULL;
  std::array<std::uint64_t, 4> lanes{kFirst, kSecond, ~kFirst, ~kSecond};
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at + 8 * lane, sizeof(word));
      lanes[lane] = std::rotl(lanes[lane] + word * kSecond, 31) * kFirst;
    }
  }
  std::uint64_t sum = bytes.size();
  for (; at < bytes.size(); ++at) {
    sum = std::rotl(sum ^ (bytes[at] * kFirst), 11) * kSecond;
  }
  for (const std::uint64_t lane : lanes) {
    sum = std::rotl(sum ^ lane, 27) * kFirst + kSecond;
  }
  return sum ^ (sum >> 32);
}

std::vector<std::uint64_t> checksums(std::span<const std::uint8_t> bytes, ThreadPool& pool) {
  std::vector<std::uint64_t> sums((bytes.size() + kSumBytes - 1) / kSumBytes);
  pool.run(static_cast<int>(sums.size()), [&](int item, int) {
    const std::size_t begin = static_cast<std::size_t>(item) * kSumBytes;
    sums[static_cast<std::size_t>(item)] =
        checksum(bytes.subspan(begin, std::min(kSumBytes, bytes.size() - begin)));
  });
  return sums;
}

std::size_t sum_count(std::size_t panel_bytes) {
  return (panel_bytes + kSumBytes - 1) / kSumBytes;
}

// A packed model's matrices beside its own vectors.
class PackedModel final : public TensorFile {
 public:
  PackedModel(std::shared_ptr<const TensorFile> file, std::vector<TensorView> tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {
    for (const TensorView& tensor : tensors_) {
      by_name_.emplace(tensor.name, &tensor);
    }
  }

  std::string_view format() const override { return file_->format(); }

  const std::vector<TensorView>& tensors() const override { return tensors_; }

  const TensorView* find(std::string_view name) const override {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : at->second;
  }

  const std::map<std::string, weights::MetadataValue, std::less<>>& metadata() const override {
    return file_->metadata();
  }

  std::uint64_t described_bytes() const override { return file_->described_bytes(); }

  const std::vector<std::filesystem::path>& files() const override { return file_->files(); }

  void release(std::span<const std::uint8_t> bytes) const override { file_->release(bytes); }

 private:
  std::shared_ptr<const TensorFile> file_;
  std::vector<TensorView> tensors_;
  std::map<std::string_view, const TensorView*, std::less<>> by_name_;
};

std::vector<std::int32_t> format_numbers(std::span<const Format> formats) {
  std::vector<std::int32_t> numbers;
  for (const Format format : formats) {
    numbers.push_back(static_cast<std::int32_t>(format));
  }
  return numbers;
}

// The model's matrices as metadata: they have no data of their own in a packed model.
void put_matrices(const TensorFile& model, weights::GgufMetadata& metadata) {
  std::vector<std::string> names;
  std::vector<std::int64_t> shapes;
  for (const TensorView& tensor : model.tensors()) {
    if (tensor.shape.size() == 2) {
      names.push_back(tensor.name);
      shapes.insert(shapes.end(),
                    {tensor.shape[0], tensor.shape[1], static_cast<std::int64_t>(tensor.type)});
    }
  }
  metadata.put_strings(kNamesKey, names);
  metadata.put_i64s(kShapesKey, shapes);
}

}  // namespace

bool is_packed_model(const TensorFile& file) {
  return file.metadata().contains(kNamesKey) && file.metadata().contains(kVersionKey);
}

Result<std::shared_ptr<const TensorFile>> as_model(std::shared_ptr<const TensorFile> file) {
  const auto* names = value_of<std::vector<std::string>>(*file, kNamesKey);
  const auto* shapes = value_of<std::vector<std::int64_t>>(*file, kShapesKey);
  if (names == nullptr || shapes == nullptr || shapes->size() != 3 * names->size()) {
    return damaged("the list of its matrices is broken");
  }
  std::vector<TensorView> tensors;
  for (const TensorView& tensor : file->tensors()) {
    if (tensor.name != kPanels && tensor.name != kSums) {
      tensors.push_back(tensor);
    }
  }
  for (std::size_t i = 0; i < names->size(); ++i) {
    const std::int64_t rows = (*shapes)[3 * i];
    const std::int64_t columns = (*shapes)[3 * i + 1];
    const std::int64_t type = (*shapes)[3 * i + 2];
    if (rows < 1 || columns < 1 || type < 0 || type > static_cast<int>(TensorType::kQ6_K)) {
      return damaged(
          fmt::format("matrix '{}' is [{}, {}] of type {}", (*names)[i], rows, columns, type));
    }
    tensors.push_back({.name = (*names)[i],
                       .type = static_cast<TensorType>(type),
                       .shape = {rows, columns},
                       .data = {}});
  }
  return std::make_shared<const PackedModel>(std::move(file), std::move(tensors));
}

Result<PackedPanels> read_panels(std::shared_ptr<const TensorFile> file, ThreadPool& pool) {
  const auto version = weights::metadata_integer(*file, kVersionKey);
  if (version != kLayoutVersion) {
    return damaged(
        fmt::format("layout {} is not this program's {}", version.value_or(0), kLayoutVersion));
  }
  const auto* formats = value_of<std::vector<std::int64_t>>(*file, kFormatsKey);
  const TensorView* panels = file->find(kPanels);
  const TensorView* sums = file->find(kSums);
  if (formats == nullptr || panels == nullptr || panels->type != TensorType::kI8 ||
      sums == nullptr || sums->type != TensorType::kI64 ||
      sums->data.size() != sum_count(panels->data.size()) * sizeof(std::uint64_t)) {
    return damaged("it lacks panels, their sums or their formats");
  }
  if (reinterpret_cast<std::uintptr_t>(panels->data.data()) % 64 != 0) {
    return damaged("its panels do not begin at a multiple of 64");
  }
  PackedPanels out{.file = file, .bytes = panels->data, .formats = {}};
  for (const std::int64_t number : *formats) {
    if (number < 0 || number > static_cast<int>(Format::kF32)) {
      return damaged(fmt::format("a matrix has format {}", number));
    }
    out.formats.push_back(static_cast<Format>(number));
  }
  const std::vector<std::uint64_t> actual = checksums(out.bytes, pool);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    std::uint64_t stored = 0;
    std::memcpy(&stored, sums->data.data() + i * sizeof(stored), sizeof(stored));
    if (stored != actual[i]) {
      return damaged(fmt::format("the checksum of MiB {} does not match", i));
    }
  }
  return out;
}

PackedFileWriter::PackedFileWriter(std::filesystem::path path, std::filesystem::path temporary)
    : path_(std::move(path)), temporary_(std::move(temporary)) {}

PackedFileWriter::~PackedFileWriter() {
  if (!temporary_.empty()) {
    std::error_code ignored;  // at worst a leftover of the name that the next writer empties
    std::filesystem::remove(temporary_, ignored);
  }
}

Result<PackedFileWriter> PackedFileWriter::create(std::filesystem::path path,
                                                  Contents contents,
                                                  std::span<const Format> formats,
                                                  std::size_t panel_bytes) {
  std::filesystem::path temporary = fmt::format("{}.tmp{}", path.string(), ::getpid());
  PackedFileWriter out(std::move(path), std::move(temporary));
  contents.metadata.put_u32("general.alignment", kAlignment);
  contents.metadata.put_u32(kVersionKey, static_cast<std::uint32_t>(kLayoutVersion));
  contents.metadata.put_i32s(kFormatsKey, format_numbers(formats));
  std::vector<GgufTensor> tensors{
      {std::string(kPanels), TensorType::kI8, {static_cast<std::int64_t>(panel_bytes)}},
      {std::string(kSums), TensorType::kI64, {static_cast<std::int64_t>(sum_count(panel_bytes))}}};
  std::vector<const TensorView*> vectors;
  if (contents.model != nullptr) {
    put_matrices(*contents.model, contents.metadata);
    for (const TensorView& tensor : contents.model->tensors()) {
      if (tensor.shape.size() == 1) {
        tensors.push_back({tensor.name, tensor.type, tensor.shape});
        vectors.push_back(&tensor);
      }
    }
  }
  GENESIS_TRY(auto layout, weights::GgufLayout::make(contents.metadata, tensors, kAlignment));
  GENESIS_TRY(out.writer_, weights::GgufWriter::create(out.temporary_, std::move(layout)));
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    GENESIS_TRY_VOID(out.writer_->write(2 + i, 0, vectors[i]->data));
  }
  out.panel_bytes_ = panel_bytes;
  return out;
}

Result<MemoryRegion> PackedFileWriter::map() const {
  return MemoryRegion::map_shared(
      writer_->descriptor(), writer_->layout().offsets[0], panel_bytes_, "the packed weights");
}

Result<void> PackedFileWriter::finish(std::span<const std::uint8_t> panels,
                                      ThreadPool& pool,
                                      bool durable) {
  const std::vector<std::uint64_t> sums = checksums(panels, pool);
  GENESIS_TRY_VOID(writer_->write(
      1,
      0,
      {reinterpret_cast<const std::uint8_t*>(sums.data()), sums.size() * sizeof(std::uint64_t)}));
  if (durable) {
    GENESIS_TRY_VOID(writer_->sync());
  }
  GENESIS_TRY_VOID(rename_file(temporary_, path_));
  temporary_.clear();
  return {};
}

}  // namespace genesis::model
