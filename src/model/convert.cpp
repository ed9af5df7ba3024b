// Chooses types, streams pieces through the quantizers, verifies, renames.
#include "model/convert.h"

#include "base/file.h"
#include "kernel/cpu.h"
#include "model/gguf_export.h"
#include "model/gguf_spec.h"
#include "model/model_weights.h"
#include "model/packed_file.h"
#include "model/thread_pool.h"
#include "weights/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <new>
#include <optional>
#include <unistd.h>
#include <utility>

namespace genesis::model {
namespace {

using weights::GgufTensor;
using weights::TensorFile;
using weights::TensorType;
using weights::TensorView;

// Values of one piece: with the widest types a MiB each of floats and of result.
constexpr std::int64_t kPieceValues = 256 * 1024;

struct Format {
  std::string_view name;
  TensorType type;
  std::uint32_t file_type;  // llama_ftype: what llama.cpp shows for the file
  bool packed = false;
};

// Packed matrices are made from types that packing takes over code by code (packing.h).
constexpr std::array kFormats{Format{"F32", TensorType::kF32, 0},
                              Format{"F16", TensorType::kF16, 1},
                              Format{"BF16", TensorType::kBF16, 32},
                              Format{"Q8_0", TensorType::kQ8_0, 7},
                              Format{"Q4_0", TensorType::kQ4_0, 2},
                              Format{"Q4_1", TensorType::kQ4_1, 3},
                              Format{"Q4_K", TensorType::kQ4_K, 14},
                              Format{"Q6_K", TensorType::kQ6_K, 18},
                              Format{"packed-8", TensorType::kQ8_0, 7, true},
                              Format{"packed-4", TensorType::kQ4_1, 3, true}};

constexpr auto kFormatNames = [] {
  std::array<std::string_view, kFormats.size()> names;
  std::ranges::transform(kFormats, names.begin(), &Format::name);
  return names;
}();

bool is_four_bit(TensorType type) {
  return type == TensorType::kQ4_0 || type == TensorType::kQ4_1 || type == TensorType::kQ4_K;
}

struct Choice {
  TensorType type;
  std::string note;
};

// Vectors stay F32: they are small, and norms scale everything behind them. The output head of a
// 4-bit model gets more bits, as llama.cpp gives it. Rows that are not whole blocks of 256 fall
// back as in llama.cpp: Q4_K to Q5_0, Q6_K to Q8_0; not even of 32: F16.
Choice choose_type(const ExportTensor& tensor, const Format& format) {
  if (tensor.source == nullptr || tensor.source->shape.size() != 2) {
    return {TensorType::kF32, ""};
  }
  Choice choice{format.type, ""};
  if (tensor.is_head && is_four_bit(format.type)) {
    choice.type = format.packed ? TensorType::kQ8_0 : TensorType::kQ6_K;
    choice.note = "output head";
  }
  const auto columns = static_cast<std::size_t>(tensor.source->shape[1]);
  const auto fits = [&] { return columns % weights::block_layout(choice.type).elements == 0; };
  if (!fits()) {
    choice.type = choice.type == TensorType::kQ4_K ? TensorType::kQ5_0 : TensorType::kQ8_0;
    choice.note = fmt::format("rows of {} are not whole blocks of 256", columns);
  }
  if (!fits()) {
    choice.type = TensorType::kF16;
    choice.note = fmt::format("rows of {} are not whole blocks of 32", columns);
  }
  return choice;
}

std::int64_t row_values(const GgufTensor& tensor) {
  return tensor.shape.back();
}

std::int64_t row_count(const GgufTensor& tensor) {
  return tensor.shape.size() == 2 ? tensor.shape[0] : 1;
}

// The values of one row of the result.
Result<void> load_row(const ExportTensor& tensor, std::int64_t row, std::span<float> out) {
  if (tensor.source == nullptr) {
    std::ranges::copy(tensor.values, out.begin());
    return {};
  }
  const TensorView& source = *tensor.source;
  const weights::BlockLayout layout = weights::block_layout(source.type);
  const std::size_t bytes = out.size() / layout.elements * layout.bytes;
  const auto order_whole = [&] { return tensor.row_order.size() == out.size(); };
  const std::int64_t from = source.shape.size() == 2 && !tensor.row_order.empty()
                                ? tensor.row_order[static_cast<std::size_t>(row)]
                                : row;
  GENESIS_TRY_VOID(weights::dequantize(
      source.type, source.data.subspan(static_cast<std::size_t>(from) * bytes, bytes), out));
  if (source.shape.size() == 1 && order_whole()) {  // a bias of q or k
    const std::vector<float> stored(out.begin(), out.end());
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = stored[static_cast<std::size_t>(tensor.row_order[i])];
    }
  }
  if (tensor.plus != 0.0F) {
    for (float& value : out) {
      value += tensor.plus;
    }
  }
  return {};
}

struct Job {
  const ExportTensor* from = nullptr;
  GgufTensor to;
  std::string note;
  double error = 0;
};

// Squares of one tensor's differences and values.
struct Squares {
  double error = 0;
  double value = 0;
};

class Conversion {
 public:
  Conversion(const ConvertOptions& options, const TensorFile& source, ThreadPool& pool)
      : options_(options), source_(source), pool_(pool) {}

  Result<void> plan(const GgufExport& exported, const Format& format) {
    for (const ExportTensor& tensor : exported.tensors) {
      Choice choice = choose_type(tensor, format);
      const std::vector<std::int64_t> shape =
          tensor.source != nullptr
              ? tensor.source->shape
              : std::vector<std::int64_t>{static_cast<std::int64_t>(tensor.values.size())};
      if (shape.empty() || shape.size() > 2 || shape.back() < 1) {
        return fail_param(tensor.name,
                          fmt::format("tensor '{}' is neither a vector nor a matrix", tensor.name),
                          ErrorCode::kUnsupported);
      }
      if (tensor.source != nullptr && shape.size() == 2 &&
          static_cast<std::size_t>(shape[1]) %
                  weights::block_layout(tensor.source->type).elements !=
              0) {
        return fail_param(tensor.name,
                          fmt::format("rows of tensor '{}' are not whole blocks", tensor.name),
                          ErrorCode::kDataLoss);
      }
      jobs_.push_back({.from = &tensor,
                       .to = {.name = tensor.name, .type = choice.type, .shape = shape},
                       .note = std::move(choice.note)});
    }
    return {};
  }

  Result<void> write(const weights::GgufWriter& writer) {
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      report("writing", i);
      GENESIS_TRY_VOID(write_tensor(writer, i));
    }
    return writer.sync();
  }

  Result<void> verify(const std::filesystem::path& path) {
    GENESIS_TRY(const auto file, TensorFile::open(path));
    if (file->tensors().size() != jobs_.size()) {
      return fail(ErrorCode::kDataLoss, "the written file has another number of tensors");
    }
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      report("comparing", i);
      GENESIS_TRY_VOID(verify_tensor(*file, jobs_[i]));
    }
    report("comparing", jobs_.size());
    return {};
  }

  std::vector<GgufTensor> table() const {
    std::vector<GgufTensor> table;
    for (const Job& job : jobs_) {
      table.push_back(job.to);
    }
    return table;
  }

  const std::vector<Job>& jobs() const { return jobs_; }

 private:
  void report(std::string_view phase, std::size_t done_jobs) const {
    if (!options_.progress) {
      return;
    }
    std::int64_t done = 0;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      const auto bytes = static_cast<std::int64_t>(jobs_[i].to.bytes());
      total += bytes;
      done += i < done_jobs ? bytes : 0;
    }
    options_.progress(phase, done, total);
  }

  // Runs `piece(first row, rows)` over all rows, on all threads; the first error counts.
  template <typename Piece>
  Result<void> in_pieces(const GgufTensor& tensor, Piece piece) {
    const std::int64_t rows = row_count(tensor);
    const std::int64_t step = std::max<std::int64_t>(1, kPieceValues / row_values(tensor));
    std::mutex mutex;
    std::optional<Error> problem;
    pool_.run(static_cast<int>((rows + step - 1) / step), [&](int item, int) {
      const std::int64_t first = item * step;
      if (auto done = piece(first, std::min(step, rows - first)); !done) {
        const std::lock_guard lock(mutex);
        problem = std::move(done).error();
      }
    });
    if (problem) {
      problem->message = fmt::format("tensor '{}': {}", tensor.name, problem->message);
      return std::unexpected(*std::move(problem));
    }
    return {};
  }

  Result<void> write_tensor(const weights::GgufWriter& writer, std::size_t index) {
    const Job& job = jobs_[index];
    const auto columns = static_cast<std::size_t>(row_values(job.to));
    const weights::BlockLayout layout = weights::block_layout(job.to.type);
    const std::size_t row_bytes = columns / layout.elements * layout.bytes;
    GENESIS_TRY_VOID(in_pieces(job.to, [&](std::int64_t first, std::int64_t rows) -> Result<void> {
      std::vector<float> values(columns);
      std::vector<std::uint8_t> blocks(static_cast<std::size_t>(rows) * row_bytes);
      for (std::int64_t row = 0; row < rows; ++row) {
        GENESIS_TRY_VOID(load_row(*job.from, first + row, values));
        GENESIS_TRY_VOID(weights::quantize(
            job.to.type,
            values,
            std::span(blocks).subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes)));
      }
      return writer.write(index, static_cast<std::uint64_t>(first) * row_bytes, blocks);
    }));
    if (job.from->source != nullptr) {
      source_.release(job.from->source->data);
    }
    return {};
  }

  Result<void> verify_tensor(const TensorFile& file, Job& job) {
    const TensorView* written = file.find(job.to.name);
    if (written == nullptr || written->type != job.to.type || written->shape != job.to.shape) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("tensor '{}' is not in the written file as planned", job.to.name));
    }
    std::mutex mutex;
    Squares total;
    GENESIS_TRY_VOID(in_pieces(job.to, [&](std::int64_t first, std::int64_t rows) -> Result<void> {
      Squares piece;
      for (std::int64_t row = first; row < first + rows; ++row) {
        GENESIS_TRY(const Squares one, compare_row(*job.from, *written, row));
        piece.error += one.error;
        piece.value += one.value;
      }
      const std::lock_guard lock(mutex);
      total.error += piece.error;
      total.value += piece.value;
      return {};
    }));
    job.error = total.value > 0 ? std::sqrt(total.error / total.value) : 0.0;
    file.release(written->data);
    if (job.from->source != nullptr) {
      source_.release(job.from->source->data);
    }
    return {};
  }

  static Result<Squares> compare_row(const ExportTensor& from,
                                     const TensorView& written,
                                     std::int64_t row) {
    const auto columns = static_cast<std::size_t>(written.shape.back());
    const weights::BlockLayout layout = weights::block_layout(written.type);
    const std::size_t row_bytes = columns / layout.elements * layout.bytes;
    std::vector<float> wanted(columns);
    std::vector<float> got(columns);
    GENESIS_TRY_VOID(load_row(from, row, wanted));
    GENESIS_TRY_VOID(weights::dequantize(
        written.type,
        written.data.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes),
        got));
    Squares squares;
    for (std::size_t at = 0; at < columns; at += layout.elements) {
      const std::span block = std::span(wanted).subspan(at, layout.elements);
      const double bound = weights::error_bound(written.type, block);
      for (std::size_t i = 0; i < layout.elements; ++i) {
        const double difference = double{got[at + i]} - double{block[i]};
        if (!(std::abs(difference) <= bound)) {
          return fail(
              ErrorCode::kDataLoss,
              fmt::format("value {} of row {} was {} and reads back as {}, off by more than "
                          "{} allows ({})",
                          at + i,
                          row,
                          block[i],
                          got[at + i],
                          weights::tensor_type_name(written.type),
                          bound));
        }
        squares.error += difference * difference;
        squares.value += double{block[i]} * double{block[i]};
      }
    }
    return squares;
  }

  const ConvertOptions& options_;
  const TensorFile& source_;
  ThreadPool& pool_;
  std::vector<Job> jobs_;
};

// Packs the verified GGUF at `from` into the packed model `to`; the metadata is the GGUF's.
Result<std::uint64_t> pack_file(const std::filesystem::path& from,
                                const std::filesystem::path& to,
                                const weights::GgufMetadata& metadata,
                                ThreadPool& pool) {
  GENESIS_TRY(const auto file, TensorFile::open(from));
  GENESIS_TRY(const ModelSpec spec, spec_from_gguf(*file));
  std::optional<PackedFileWriter> writer;
  const PanelPlace place{.allocate = [&](std::span<const kernel::Format> formats,
                                         std::size_t bytes) -> Result<MemoryRegion> {
    GENESIS_TRY(
        writer,
        PackedFileWriter::create(to, {.model = file.get(), .metadata = metadata}, formats, bytes));
    return writer->map();
  }};
  GENESIS_TRY(const ModelWeights packed, load_weights(*file, spec, place, pool));
  const std::span<const std::uint8_t> panels(packed.memory.data(), packed.memory.size());
  GENESIS_TRY_VOID(writer->finish(panels, pool, true));
  // Read back: the checksums, and that the model's description and the panels fit each other.
  GENESIS_TRY(const auto written, TensorFile::open(to));
  GENESIS_TRY(const auto model, as_model(written));
  GENESIS_TRY(const PackedPanels ready, read_panels(written, pool));
  GENESIS_TRY(const ModelSpec again, spec_from_gguf(*model));
  GENESIS_TRY([[maybe_unused]] const ModelWeights loaded,
              load_weights(*model, again, {.ready = &ready}, pool));
  return written->described_bytes();
}

// Removes the file it names, unless told that it has become the result.
class Temporary {
 public:
  explicit Temporary(std::filesystem::path path) : path_(std::move(path)) {}

  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  ~Temporary() {
    if (!path_.empty()) {
      std::error_code ignored;  // it may never have been made
      std::filesystem::remove(path_, ignored);
    }
  }

  const std::filesystem::path& path() const { return path_; }

  Result<void> become(const std::filesystem::path& name) {
    GENESIS_TRY_VOID(rename_file(path_, name));
    path_.clear();
    return {};
  }

 private:
  std::filesystem::path path_;
};

// The weights file of a folder, and the folder of a weights file.
struct Source {
  std::filesystem::path weights;
  std::filesystem::path folder;
};

Source find_source(const std::filesystem::path& named) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(named, ignored)) {
    const auto folder = named.parent_path();
    return {.weights = named, .folder = folder.empty() ? "." : folder};
  }
  const auto index = named / "model.safetensors.index.json";
  const auto single = named / "model.safetensors";
  const bool sharded =
      !std::filesystem::exists(single, ignored) && std::filesystem::exists(index, ignored);
  return {.weights = sharded ? index : single, .folder = named};
}

ConvertReport make_report(const GgufExport& exported,
                          const TensorFile& file,
                          const Conversion& all) {
  ConvertReport report{.architecture = exported.architecture,
                       .source_bytes = file.described_bytes()};
  for (const Job& job : all.jobs()) {
    report.tensors.push_back(
        {.name = job.to.name,
         .from = job.from->source != nullptr ? job.from->source->type : TensorType::kF32,
         .to = job.to.type,
         .shape = job.to.shape,
         .bytes = job.to.bytes(),
         .note = job.note,
         .error = job.error});
    report.worst_error = std::max(report.worst_error, job.error);
  }
  return report;
}

Result<ConvertReport> convert(const ConvertOptions& options) {
  const auto* format = std::ranges::find(kFormats, std::string_view(options.format), &Format::name);
  if (format == kFormats.end()) {
    return fail_param("to", fmt::format("there is no format '{}'", options.format));
  }
  std::error_code ignored;
  if (!options.force && !options.dry_run && std::filesystem::exists(options.output, ignored)) {
    Error error =
        fail_param(
            "output", fmt::format("{} exists", options.output.string()), ErrorCode::kConflict)
            .error();
    error.hint = "choose another name, or add --force";
    return std::unexpected(std::move(error));
  }
  const Source source = find_source(options.source);
  GENESIS_TRY(const auto file, TensorFile::open(source.weights));
  if (file->format() != "safetensors") {
    return fail_param("source",
                      fmt::format("{} is {}; only safetensors models are converted",
                                  source.weights.string(),
                                  file->format()),
                      ErrorCode::kUnsupported);
  }
  GENESIS_TRY(GgufExport exported, describe_as_gguf(*file, source.folder));
  exported.metadata.put_u32("general.file_type", format->file_type);
  ThreadPool pool(
      std::clamp(options.threads > 0 ? options.threads : kernel::physical_cores(), 1, 256));
  Conversion conversion(options, *file, pool);
  GENESIS_TRY_VOID(conversion.plan(exported, *format));
  GENESIS_TRY(auto layout, weights::GgufLayout::make(exported.metadata, conversion.table()));
  const std::uint64_t bytes = layout.file_bytes;
  if (options.dry_run) {
    ConvertReport report = make_report(exported, *file, conversion);
    report.output_bytes = bytes;
    return report;
  }
  Temporary temporary(fmt::format("{}.part{}", options.output.string(), ::getpid()));
  {
    GENESIS_TRY(const auto writer,
                weights::GgufWriter::create(temporary.path(), std::move(layout)));
    GENESIS_TRY_VOID(conversion.write(writer));
  }
  GENESIS_TRY_VOID(conversion.verify(temporary.path()));
  ConvertReport report = make_report(exported, *file, conversion);
  report.output_bytes = bytes;
  if (format->packed) {
    GENESIS_TRY(report.output_bytes,
                pack_file(temporary.path(), options.output, exported.metadata, pool));
  } else {
    GENESIS_TRY_VOID(temporary.become(options.output));
  }
  return report;
}

}  // namespace

std::span<const std::string_view> conversion_formats() {
  return kFormatNames;
}

Result<ConvertReport> convert_model(const ConvertOptions& options) {
  try {
    return convert(options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted, "not enough memory to convert the model");
  }
}

}  // namespace genesis::model
