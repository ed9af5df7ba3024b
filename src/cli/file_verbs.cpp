// convert, show FILE, ls --cache, rm --cache: verbs about weights files.
#include "base/clock.h"
#include "base/json.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/model_store.h"
#include "model/convert.h"
#include "model/packed_cache.h"
#include "model/packed_file.h"
#include "weights/tensor_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <variant>

namespace genesis::cli {

namespace {

using model::ConvertedTensor;
using model::ConvertReport;
using weights::TensorFile;

// A cache's limit only matters to who writes; listing and clearing need none.
constexpr std::int64_t kNoLimit = 0;

model::PackedCache open_cache(const app::Home& home) {
  return {home.cache / "weights", kNoLimit};
}

struct TypeSum {
  std::size_t tensors = 0;
  std::int64_t bytes = 0;
};

std::map<std::string, TypeSum> sum_by_type(const ConvertReport& report) {
  std::map<std::string, TypeSum> sums;
  for (const ConvertedTensor& tensor : report.tensors) {
    TypeSum& sum = sums[std::string(weights::tensor_type_name(tensor.to))];
    ++sum.tensors;
    sum.bytes += static_cast<std::int64_t>(tensor.bytes);
  }
  return sums;
}

std::string report_json(const ConvertReport& report, const ConvertOptions& options) {
  JsonWriter json;
  json.begin_object();
  json.field("output", options.output);
  json.field("format", options.format);
  json.field("architecture", report.architecture);
  json.field("source_bytes", static_cast<std::int64_t>(report.source_bytes));
  json.field("output_bytes", static_cast<std::int64_t>(report.output_bytes));
  json.field_bool("dry_run", options.dry_run);
  json.field_number("worst_error", report.worst_error);
  json.key("tensors");
  json.begin_array();
  for (const ConvertedTensor& tensor : report.tensors) {
    json.begin_object();
    json.field("name", tensor.name);
    json.field("from", weights::tensor_type_name(tensor.from));
    json.field("to", weights::tensor_type_name(tensor.to));
    json.field_raw("shape", fmt::format("[{}]", fmt::join(tensor.shape, ",")));
    json.field("bytes", static_cast<std::int64_t>(tensor.bytes));
    json.field_number("error", tensor.error);
    if (!tensor.note.empty()) {
      json.field("note", tensor.note);
    }
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return json.take() + "\n";
}

std::string report_text(const ConvertReport& report, const ConvertOptions& options) {
  std::string text = fmt::format("{}  {}  {} -> {}\n",
                                 options.dry_run ? "would write " + options.output : options.output,
                                 report.architecture,
                                 format_bytes(static_cast<std::int64_t>(report.source_bytes)),
                                 format_bytes(static_cast<std::int64_t>(report.output_bytes)));
  for (const auto& [type, sum] : sum_by_type(report)) {
    text += fmt::format("  {:<5} {:>5} tensors  {}\n", type, sum.tensors, format_bytes(sum.bytes));
  }
  std::map<std::string, std::size_t> notes;
  for (const ConvertedTensor& tensor : report.tensors) {
    if (!tensor.note.empty()) {
      ++notes[fmt::format("{}: {}", weights::tensor_type_name(tensor.to), tensor.note)];
    }
  }
  for (const auto& [note, count] : notes) {
    text += fmt::format("  {} tensors got {}\n", count, note);
  }
  if (!options.dry_run) {
    text += fmt::format("  read back and compared; largest relative error of a tensor {:.4f}\n",
                        report.worst_error);
  }
  return text;
}

// A header in words, whatever the format.
struct Header {
  std::string format;
  std::string architecture;
  std::string name;
  std::optional<std::int64_t> layers;
  std::optional<std::int64_t> context;
  std::optional<std::int64_t> vocabulary;
  bool has_template = false;
  std::map<std::string, std::size_t> types;
  std::int64_t parameters = 0;
  std::int64_t described = 0;
  std::int64_t there = 0;
};

Header read_header(const TensorFile& file, const std::filesystem::path& path) {
  Header out{.format = std::string(file.format())};
  out.architecture = weights::metadata_string(file, "general.architecture").value_or("");
  out.name = weights::metadata_string(file, "general.name").value_or("");
  out.layers = weights::metadata_integer(file, out.architecture + ".block_count");
  out.context = weights::metadata_integer(file, out.architecture + ".context_length");
  const auto tokens = file.metadata().find("tokenizer.ggml.tokens");
  if (tokens != file.metadata().end()) {
    if (const auto* list = std::get_if<std::vector<std::string>>(&tokens->second)) {
      out.vocabulary = static_cast<std::int64_t>(list->size());
    }
  }
  out.has_template = weights::metadata_string(file, "tokenizer.chat_template").has_value();
  for (const weights::TensorView& tensor : file.tensors()) {
    ++out.types[std::string(weights::tensor_type_name(tensor.type))];
    out.parameters += tensor.elements();
  }
  std::error_code ignored;  // it was opened a moment ago
  out.there = static_cast<std::int64_t>(std::filesystem::file_size(path, ignored));
  out.described = static_cast<std::int64_t>(file.described_bytes());
  return out;
}

std::string header_json(const Header& header) {
  JsonWriter json;
  const auto optional = [&](std::string_view key, std::optional<std::int64_t> value) {
    json.key(key);
    value ? json.integer(*value) : json.null();
  };
  json.begin_object();
  json.field("format", header.format);
  json.field("architecture", header.architecture);
  json.field("name", header.name);
  optional("layers", header.layers);
  optional("context", header.context);
  optional("vocabulary", header.vocabulary);
  json.field_bool("chat_template", header.has_template);
  json.field("parameters", header.parameters);
  json.key("tensor_types");
  json.begin_object();
  for (const auto& [type, count] : header.types) {
    json.field(type, static_cast<std::int64_t>(count));
  }
  json.end_object();
  json.field("bytes_needed", header.described);
  json.field("bytes_there", header.there);
  json.field("bytes_missing", std::max<std::int64_t>(header.described - header.there, 0));
  json.end_object();
  return json.take() + "\n";
}

std::string header_text(const Header& header) {
  const auto number = [](std::optional<std::int64_t> value) {
    return value ? std::to_string(*value) : std::string("not said");
  };
  std::vector<std::string> types;
  for (const auto& [type, count] : header.types) {
    types.push_back(fmt::format("{} {}", count, type));
  }
  std::string text = fmt::format(
      "format        {}\narchitecture  {}\nname          {}\nlayers        {}\ncontext       {}\n"
      "vocabulary    {}\ntemplate      {}\nparameters    {}\ntensors       {}\nsize          {} "
      "bytes\n",
      header.format,
      header.architecture.empty() ? "not said" : header.architecture,
      header.name.empty() ? "not said" : header.name,
      number(header.layers),
      number(header.context),
      number(header.vocabulary),
      header.has_template ? "yes" : "no",
      header.parameters,
      fmt::join(types, ", "),
      header.described);
  if (header.there < header.described) {
    text += fmt::format("missing       {} bytes: the file has {} of {}\n",
                        header.described - header.there,
                        header.there,
                        header.described);
  }
  return text;
}

// A pulled model's name, or a path.
Result<std::filesystem::path> conversion_source(const CommonOptions& common,
                                                const std::string& source) {
  std::error_code ignored;
  if (std::filesystem::exists(source, ignored)) {
    return source;
  }
  GENESIS_TRY(const app::Home home, open_home(common));
  const hub::ModelStore store(home.models);
  GENESIS_TRY(const hub::InstalledModel model, store.find(source));
  return store.weights_path(model);
}

}  // namespace

int convert(const CommonOptions& common, const ConvertOptions& options) {
  const auto source = conversion_source(common, options.source);
  if (!source) {
    return report(source.error());
  }
  ProgressPrinter progress;
  const auto done = model::convert_model(
      {.source = *source,
       .output = options.output,
       .format = options.format,
       .force = options.force,
       .dry_run = options.dry_run,
       .threads = options.threads,
       .progress = [&](std::string_view phase, std::int64_t done, std::int64_t total) {
         progress.update(phase, done, total);
       }});
  progress.finish();
  if (!done) {
    return report(done.error());
  }
  print_out(common.json ? report_json(*done, options) : report_text(*done, options));
  return kExitOk;
}

int show_file(const CommonOptions& common, const std::string& path) {
  auto file = TensorFile::open_header(path);
  if (file && model::is_packed_model(**file)) {
    file = model::as_model(*std::move(file));  // with its matrices instead of the panels
  }
  if (!file) {
    return report(file.error());
  }
  const Header header = read_header(**file, path);
  print_out(common.json ? header_json(header) : header_text(header));
  return kExitOk;
}

int list_cache(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto entries = open_cache(*home).list();
  if (common.json) {
    JsonWriter json;
    json.begin_array();
    for (const model::CacheEntry& entry : entries) {
      json.begin_object();
      json.field("sha256", entry.sha256);
      json.field("bytes", entry.bytes);
      json.end_object();
    }
    json.end_array();
    print_out(json.take() + "\n");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const model::CacheEntry& entry : entries) {
    rows.push_back({entry.sha256, format_bytes(entry.bytes)});
  }
  print_out(format_table({"WEIGHTS SHA256", "SIZE"}, rows));
  return kExitOk;
}

int clear_cache(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const std::int64_t freed = open_cache(*home).clear();
  print_out(common.json ? fmt::format("{{\"freed\":{}}}\n", freed)
                        : fmt::format("freed {}\n", format_bytes(freed)));
  return kExitOk;
}

}  // namespace genesis::cli
