// logits_probe: token ids in, logits or speeds out. For parity tests and benches, not for users.
//
//   logits_probe --model M --out F < ids.jsonl     one JSON array of ids per line; F gets the
//   float32
//                                                  logits of every position, line after line
//   logits_probe --model M --greedy N < ids.jsonl  one JSON array of new ids per prompt
//   logits_probe --model M --nll < ids.jsonl       one JSON line per prompt: the sum of -ln(p) over
//   its
//                                                  tokens but the first, and their number
//   logits_probe --config FILE                     one JSON line: what a model of that config.json
//   needs logits_probe --model M --bench                 one JSON line: prefill (512) and decode
//   (128) tokens/s
// M is a GGUF file, or a safetensors file beside its config.json.
// Options: --precision fp32|quantized, --kv int8|fp16, --isa NAME, --threads N, --context N (tokens
// offered), --chunk N (tokens a step); with --bench: --streams N (sequences decoded at once),
// --depth N (tokens before each of them); --adapter FOLDER (a PEFT adapter; for --out and --greedy
// one, from where it activates in the prompt; with --bench several: stream i uses the i-th, modulo
// their number), --copies N (loads each of them N times)
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "engine/adapter_book.h"
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/hf_spec.h"
#include "model/model_size.h"
#include "weights/tensor_file.h"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {
namespace {

constexpr std::size_t kMaxConfig = 16U << 20;

struct Options {
  std::string model;
  std::string config;
  std::string precision = "quantized";
  std::string out;
  std::vector<std::string> adapters;
  std::int32_t copies = 1;
  LoadOptions load;
  std::int32_t chunk = 256;
  std::int32_t greedy = 0;
  std::int32_t streams = 1;
  std::int32_t depth = 0;
  bool bench = false;
  bool nll = false;
};

using Use = engine::AdapterUse;

Result<std::vector<engine::AdapterInfo>> load_adapters(CpuExecutor& model, const Options& options) {
  std::vector<engine::AdapterInfo> loaded;
  for (const std::string& folder : options.adapters) {
    for (std::int32_t i = 0; i < options.copies; ++i) {
      GENESIS_TRY(auto info, model.load_adapter(folder));
      loaded.push_back(std::move(info));
    }
  }
  return loaded;
}

// How a prompt uses the first adapter, if any.
Use use_of(const std::vector<engine::AdapterInfo>& adapters, std::span<const std::int32_t> ids) {
  return adapters.empty() ? Use{} : engine::use_of(adapters[0], ids);
}

std::vector<std::int32_t> page_list(std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> pages(static_cast<std::size_t>(count));
  std::iota(pages.begin(), pages.end(), first);
  return pages;
}

Result<ModelSpec> read_spec(const weights::TensorFile& file, const std::filesystem::path& path) {
  if (file.format() == "gguf") {
    return spec_from_gguf(file);
  }
  GENESIS_TRY(const std::string config, read_file(path.parent_path() / "config.json", kMaxConfig));
  return spec_from_config(config, file);
}

Result<std::unique_ptr<CpuExecutor>> open_model(Options& options) {
  GENESIS_TRY(const auto file, weights::TensorFile::open(options.model));
  GENESIS_TRY(const ModelSpec spec, read_spec(*file, options.model));
  options.load.precision = options.precision == "fp32" ? Precision::kFp32 : Precision::kQuantized;
  return CpuExecutor::create(*file, spec, options.load);
}

// Feeds ids[start..] in chunks; returns the logits of the last `rows` tokens of each chunk.
Result<std::vector<float>> feed(CpuExecutor& model,
                                std::span<const std::int32_t> ids,
                                std::int32_t chunk,
                                bool all_rows,
                                const std::vector<std::int32_t>& pages,
                                const Use& use) {
  std::vector<float> logits;
  const auto vocab = static_cast<std::size_t>(model.info().vocab_size);
  for (std::size_t at = 0; at < ids.size();) {
    const std::size_t count = std::min(static_cast<std::size_t>(chunk), ids.size() - at);
    const std::size_t rows = all_rows ? count : (at + count == ids.size() ? 1 : 0);
    engine::SequenceStep step;
    step.tokens = ids.subspan(at, count);
    step.start = static_cast<std::int32_t>(at);
    step.pages = pages;
    step.logit_rows = static_cast<std::int32_t>(rows);
    step.adapter = use.id;
    step.adapter_from = use.from;
    const std::size_t old = logits.size();
    logits.resize(old + rows * vocab);
    GENESIS_TRY_VOID(model.run({&step, 1}, std::span(logits).subspan(old)));
    at += count;
  }
  return logits;
}

Result<std::vector<std::int32_t>> parse_ids(const std::string& line) {
  GENESIS_TRY(const boost::json::value value, parse_json(line));
  std::vector<std::int32_t> ids;
  if (!value.is_array()) {
    return fail_param("stdin", "each line must be a JSON array of token ids");
  }
  for (const boost::json::value& id : value.get_array()) {
    if (!id.is_int64()) {
      return fail_param("stdin", "token ids must be integers");
    }
    ids.push_back(static_cast<std::int32_t>(id.get_int64()));
  }
  return ids;
}

Result<void> write_logits(CpuExecutor& model, const Options& options) {
  std::ofstream out(options.out, std::ios::binary);
  GENESIS_TRY(const auto adapters, load_adapters(model, options));
  for (std::string line; std::getline(std::cin, line);) {
    GENESIS_TRY(const std::vector<std::int32_t> ids, parse_ids(line));
    const auto pages = page_list(0, model.info().num_pages);
    GENESIS_TRY(const std::vector<float> logits,
                feed(model, ids, options.chunk, true, pages, use_of(adapters, ids)));
    out.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size() * sizeof(float)));
  }
  out.flush();
  if (!out) {
    return fail(ErrorCode::kIo, "cannot write " + options.out);
  }
  return {};
}

Result<void> write_greedy(CpuExecutor& model, const Options& options) {
  GENESIS_TRY(const auto adapters, load_adapters(model, options));
  for (std::string line; std::getline(std::cin, line);) {
    GENESIS_TRY(std::vector<std::int32_t> ids, parse_ids(line));
    const auto pages = page_list(0, model.info().num_pages);
    const Use use = use_of(adapters, ids);
    GENESIS_TRY(std::vector<float> logits, feed(model, ids, options.chunk, false, pages, use));
    JsonWriter json;
    json.begin_array();
    for (std::int32_t i = 0; i < options.greedy; ++i) {
      const auto best = std::ranges::max_element(logits);
      const auto token = static_cast<std::int32_t>(best - logits.begin());
      json.integer(token);
      engine::SequenceStep step;
      step.tokens = {&token, 1};
      step.start = static_cast<std::int32_t>(ids.size());
      step.pages = pages;
      step.logit_rows = 1;
      step.adapter = use.id;
      step.adapter_from = use.from;
      GENESIS_TRY_VOID(model.run({&step, 1}, logits));
      ids.push_back(token);
    }
    json.end_array();
    std::cout << json.str() << "\n";
  }
  return {};
}

// -ln(p) of a token by the logits of the one before.
double loss(std::span<const float> logits, std::int32_t token) {
  const auto top = static_cast<double>(std::ranges::max(logits));
  double sum = 0.0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - top);
  }
  return top + std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(token)]);
}

Result<void> write_losses(CpuExecutor& model, const Options& options) {
  const auto vocab = static_cast<std::size_t>(model.info().vocab_size);
  const auto pages = page_list(0, model.info().num_pages);
  std::vector<float> logits;
  for (std::string line; std::getline(std::cin, line);) {
    GENESIS_TRY(const std::vector<std::int32_t> ids, parse_ids(line));
    double sum = 0.0;
    for (std::size_t at = 0; at < ids.size();) {
      const auto count = std::min(static_cast<std::size_t>(options.chunk), ids.size() - at);
      logits.resize(count * vocab);
      engine::SequenceStep step;
      step.tokens = std::span(ids).subspan(at, count);
      step.start = static_cast<std::int32_t>(at);
      step.pages = pages;
      step.logit_rows = static_cast<std::int32_t>(count);
      GENESIS_TRY_VOID(model.run({&step, 1}, logits));
      for (std::size_t i = 0; i < count && at + i + 1 < ids.size(); ++i) {
        sum += loss(std::span(logits).subspan(i * vocab, vocab), ids[at + i + 1]);
      }
      at += count;
    }
    JsonWriter json;
    json.begin_object();
    json.field_number("nll", sum);
    json.field("tokens", static_cast<std::int64_t>(ids.size()) - 1);
    json.end_object();
    std::cout << json.str() << "\n";
  }
  return {};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Decodes 128 tokens for each stream at once, each after `depth` tokens of its own; tokens/s in
// all.
Result<double> bench_decode(CpuExecutor& model, const Options& options, std::span<const Use> uses) {
  constexpr std::int32_t kTokens = 128;
  const std::int32_t per_stream = (options.depth + kTokens) / kPageTokens + 1;
  const auto vocab = static_cast<std::uint64_t>(model.info().vocab_size);
  Random random(1);
  std::vector<std::vector<std::int32_t>> pages;
  std::vector<std::int32_t> last(static_cast<std::size_t>(options.streams));
  for (std::int32_t s = 0; s < options.streams; ++s) {
    pages.push_back(page_list(s * per_stream, per_stream));
    std::vector<std::int32_t> prompt(static_cast<std::size_t>(options.depth));
    for (std::int32_t& id : prompt) {
      id = static_cast<std::int32_t>(random.below(vocab));
    }
    const Use& use = uses[static_cast<std::size_t>(s) % uses.size()];
    GENESIS_TRY_VOID(feed(model, prompt, options.chunk, false, pages.back(), use));
  }
  std::vector<float> logits(static_cast<std::size_t>(options.streams) * vocab);
  const auto start = std::chrono::steady_clock::now();
  for (std::int32_t i = 0; i < kTokens; ++i) {
    std::vector<engine::SequenceStep> batch(last.size());
    for (std::size_t s = 0; s < last.size(); ++s) {
      last[s] = static_cast<std::int32_t>(random.below(vocab));
      batch[s].tokens = {&last[s], 1};
      batch[s].start = options.depth + i;
      batch[s].pages = pages[s];
      batch[s].logit_rows = 1;
      batch[s].adapter = uses[s % uses.size()].id;
    }
    GENESIS_TRY_VOID(model.run(batch, logits));
  }
  return kTokens * options.streams / seconds_since(start);
}

Result<void> bench(CpuExecutor& model, const Options& options) {
  constexpr std::size_t kPrompt = 512;
  Random random(2);
  std::vector<std::int32_t> prompt(kPrompt);
  for (std::int32_t& id : prompt) {
    id = static_cast<std::int32_t>(
        random.below(static_cast<std::uint64_t>(model.info().vocab_size)));
  }
  const auto pages = page_list(0, static_cast<std::int32_t>(kPrompt) / kPageTokens);
  GENESIS_TRY(const auto adapters, load_adapters(model, options));
  std::vector<Use> uses;
  for (const engine::AdapterInfo& adapter : adapters) {
    uses.push_back({.id = adapter.id, .from = 0, .content_hash = {}});
  }
  uses.resize(std::max<std::size_t>(uses.size(), 1));
  GENESIS_TRY_VOID(feed(model, std::span(prompt).first(64), options.chunk, false, pages, uses[0]));
  const auto start = std::chrono::steady_clock::now();
  GENESIS_TRY_VOID(feed(model, prompt, options.chunk, false, pages, uses[0]));
  const double prefill = static_cast<double>(kPrompt) / seconds_since(start);
  GENESIS_TRY(const double decode, bench_decode(model, options, uses));
  JsonWriter json;
  json.begin_object();
  json.field("isa", model.info().isa);
  json.field("precision", options.precision);
  json.field("kv", model.info().kv_format);
  json.field("threads", std::int64_t{options.load.threads});
  json.field("streams", std::int64_t{options.streams});
  json.field("adapters", static_cast<std::int64_t>(adapters.size()));
  json.field("depth", std::int64_t{options.depth});
  json.field_number("prefill_tokens_per_s", prefill);
  json.field_number("decode_tokens_per_s", decode);
  json.end_object();
  std::cout << json.str() << "\n";
  return {};
}

Result<void> write_need(const std::string& path) {
  GENESIS_TRY(const std::string config, read_file(path, kMaxConfig));
  GENESIS_TRY(const ModelSpec spec, spec_from_config(config));
  JsonWriter json;
  json.begin_object();
  json.field("parameters", parameter_count(spec));
  json.field("bytes_4bit", weight_bytes(spec, kernel::Format::kQ4));
  json.field("bytes_8bit", weight_bytes(spec, kernel::Format::kQ8));
  json.field("kv_token_int8", kv_token_bytes(spec, KvFormat::kInt8));
  json.field("kv_token_fp16", kv_token_bytes(spec, KvFormat::kHalf));
  json.field("max_context", std::int64_t{spec.max_context});
  json.field("window", std::int64_t{spec.window});
  json.end_object();
  std::cout << json.str() << "\n";
  return {};
}

Result<void> run(Options& options) {
  if (!options.config.empty()) {
    return write_need(options.config);
  }
  GENESIS_TRY(const std::unique_ptr<CpuExecutor> model, open_model(options));
  if (options.bench) {
    return bench(*model, options);
  }
  if (options.nll) {
    return write_losses(*model, options);
  }
  return options.greedy > 0 ? write_greedy(*model, options) : write_logits(*model, options);
}

}  // namespace
}  // namespace genesis::model

namespace {

// Fills one option from its value. False: unknown name or bad number.
bool set_option(genesis::model::Options& options, std::string_view name, const std::string& value) {
  const auto number = [&](auto& target) {
    const char* end = value.data() + value.size();
    return std::from_chars(value.data(), end, target).ptr == end;
  };
  const auto text = [&](std::string& target) {
    target = value;
    return true;
  };
  if (name == "--model") {
    return text(options.model);
  }
  if (name == "--config") {
    return text(options.config);
  }
  if (name == "--precision") {
    return (value == "fp32" || value == "quantized") && text(options.precision);
  }
  if (name == "--kv") {
    options.load.kv_format =
        value == "fp16" ? genesis::model::KvFormat::kHalf : genesis::model::KvFormat::kInt8;
    return value == "fp16" || value == "int8";
  }
  if (name == "--isa") {
    return text(options.load.isa);
  }
  if (name == "--adapter") {
    options.adapters.push_back(value);
    return true;
  }
  if (name == "--copies") {
    return number(options.copies) && options.copies > 0;
  }
  if (name == "--out") {
    return text(options.out);
  }
  if (name == "--context") {
    return number(options.load.max_context);
  }
  if (name == "--threads") {
    return number(options.load.threads);
  }
  if (name == "--chunk") {
    return number(options.chunk) && options.chunk > 0;
  }
  if (name == "--greedy") {
    return number(options.greedy);
  }
  if (name == "--streams") {
    return number(options.streams) && options.streams > 0;
  }
  return name == "--depth" && number(options.depth) && options.depth >= 0;
}

}  // namespace

int main(int argc, char** argv) {
  genesis::model::Options options;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--bench") {
      options.bench = true;
    } else if (arguments[i] == "--nll") {
      options.nll = true;
    } else if (i + 1 >= arguments.size() || !set_option(options, arguments[i], arguments[i + 1])) {
      std::cerr << "logits_probe: bad option " << arguments[i] << "; see the head of its source\n";
      return 2;
    } else {
      ++i;
    }
  }
  if (const auto done = genesis::model::run(options); !done) {
    std::cerr << "logits_probe: " << done.error().message << "\n" << done.error().hint << "\n";
    return 1;
  }
  return 0;
}
