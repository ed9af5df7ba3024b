// Reading and valuing; usage_report.cpp projects and prints.
#include "app/import_usage.h"

#include "app/csv_reader.h"
#include "ledger/money.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <optional>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxModels = 10'000;
constexpr std::int64_t kMaxCount = 1'000'000'000'000;  // the ledger's own limit of a token count
constexpr std::int64_t kDayMs = 86'400'000;

// The columns of both providers, by what they mean; the first name that the header has counts.
struct Columns {
  std::optional<std::size_t> model;
  std::optional<std::size_t> date;
  std::optional<std::size_t> requests;
  std::optional<std::size_t> batch;  // "true", or a usage type
  std::optional<std::size_t> input;  // OpenAI: cached included; Anthropic: not
  std::optional<std::size_t> cached;
  std::optional<std::size_t> write_5m;
  std::optional<std::size_t> write_1h;
  std::optional<std::size_t> output;
  bool anthropic = false;
};

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == ' ' ? '_' : c;
  }
  return out;
}

std::optional<std::size_t> find_column(const std::vector<std::string>& header,
                                       std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const auto at = std::ranges::find(header, name);
    if (at != header.end()) {
      return static_cast<std::size_t>(at - header.begin());
    }
  }
  return std::nullopt;
}

// Names of the exports as their makers write them: OpenAI's usage page (completions_usage_*.csv,
// embeddings_usage_*.csv; the older activity export counts n_context_tokens_total), Anthropic's
// console (claude_api_tokens_*.csv).
Result<Columns> read_header(std::vector<std::string> header) {
  for (std::string& name : header) {
    name = lower(name);
  }
  Columns columns;
  columns.model = find_column(header, {"model", "model_version", "snapshot_id"});
  columns.date = find_column(header,
                             {"start_time_iso",
                              "usage_date_utc",
                              "start_time",
                              "date",
                              "timestamp",
                              "local_timestamp",
                              "aggregation_timestamp"});
  columns.requests = find_column(header, {"num_model_requests", "num_requests", "n_requests"});
  columns.batch = find_column(header, {"batch", "usage_type"});
  const auto uncached = find_column(header, {"usage_input_tokens_no_cache"});
  columns.anthropic = uncached.has_value();
  columns.input =
      uncached ? uncached
               : find_column(header, {"input_tokens", "n_context_tokens_total", "prompt_tokens"});
  columns.cached = find_column(
      header,
      {"input_cached_tokens", "usage_input_tokens_cache_read", "n_cached_context_tokens_total"});
  columns.write_5m =
      find_column(header, {"usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write"});
  columns.write_1h = find_column(header, {"usage_input_tokens_cache_write_1h"});
  columns.output = find_column(
      header,
      {"output_tokens", "usage_output_tokens", "n_generated_tokens_total", "completion_tokens"});
  if (!columns.model || !columns.input) {
    auto error = fail_param(
        "line 1",
        fmt::format("line 1: no column '{}': this is no usage export of OpenAI or Anthropic",
                    columns.model ? "input_tokens" : "model"));
    error.error().hint =
        "OpenAI: group the usage page by model before exporting; Anthropic: Console, Usage, Export";
    return error;
  }
  return columns;
}

class Rows {
 public:
  Rows(std::string_view csv, const UsageReading& reading) : csv_(csv), reading_(reading) {}

  Result<UsageExport> read() {
    std::vector<std::string> cells;
    GENESIS_TRY(const bool header, csv_.next(cells));
    if (!header) {
      return fail_param("line 1", "the file is empty");
    }
    GENESIS_TRY(columns_, read_header(std::move(cells)));
    while (true) {
      GENESIS_TRY(const bool row, csv_.next(cells));
      if (!row) {
        break;
      }
      GENESIS_TRY_VOID(add(cells));
    }
    return finish();
  }

 private:
  static std::string_view cell(const std::vector<std::string>& cells,
                               std::optional<std::size_t> column) {
    return column && *column < cells.size() ? std::string_view(cells[*column]) : "";
  }

  // Whole numbers, also written "3.0" as OpenAI does.
  Result<std::int64_t> number(const std::vector<std::string>& cells,
                              std::optional<std::size_t> column) const {
    std::string_view text = cell(cells, column);
    const std::size_t point = text.find('.');
    if (point != std::string_view::npos &&
        text.find_first_not_of('0', point + 1) == std::string_view::npos) {
      text = text.substr(0, point);
    }
    if (text.empty()) {
      return 0;
    }
    std::int64_t value = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size() || value < 0 ||
        value > kMaxCount) {
      return fail_param(
          fmt::format("line {}", csv_.line()),
          fmt::format(
              "line {}: column {} holds no count of tokens", csv_.line(), column.value_or(0) + 1));
    }
    return value;
  }

  // Seconds since 1970, or a date that begins like 2025-11-04.
  Result<std::int64_t> time(const std::vector<std::string>& cells) const {
    const std::string_view text = cell(cells, columns_.date);
    std::int64_t seconds = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (end.ec == std::errc() && end.ptr == text.data() + text.size() && seconds > 0 &&
        seconds < 100'000'000'000) {
      return seconds * 1000;
    }
    if (text.empty()) {
      return reading_.now_ms;
    }
    const auto date = ledger::parse_date(text.substr(0, 10));
    if (!date) {
      return fail_param(fmt::format("line {}", csv_.line()),
                        fmt::format("line {}: '{:.40}' is no date", csv_.line(), text));
    }
    return *date;
  }

  Result<void> add(const std::vector<std::string>& cells) {
    const std::string_view model = cell(cells, columns_.model);
    GENESIS_TRY(const std::int64_t when, time(cells));
    first_ms_ = rows_ == 0 ? when : std::min(first_ms_, when);
    last_ms_ = std::max(last_ms_, when);
    ++rows_;
    UsageLine row;
    GENESIS_TRY(row.requests, number(cells, columns_.requests));
    GENESIS_TRY(row.usage, usage(cells));
    GENESIS_TRY(row.cache_write_1h, number(cells, columns_.write_1h));
    // OpenAI writes a row for each hour or day, also where nothing happened.
    if (row.usage.input == 0 && row.usage.output == 0) {
      return {};
    }
    if (model.empty()) {
      return fail_param(
          fmt::format("line {}", csv_.line()),
          fmt::format("line {}: tokens without a model: group the export by model", csv_.line()));
    }
    row.model = model.substr(0, 200);
    const std::string_view batch = cell(cells, columns_.batch);
    GENESIS_TRY_VOID(value(row, when, batch == "true" || batch == "True" || batch == "batch"));
    return sum_up(row);
  }

  Result<Usage> usage(const std::vector<std::string>& cells) const {
    Usage usage;
    GENESIS_TRY(usage.input, number(cells, columns_.input));
    GENESIS_TRY(usage.cached_input, number(cells, columns_.cached));
    GENESIS_TRY(usage.cache_write, number(cells, columns_.write_5m));
    GENESIS_TRY(const std::int64_t write_1h, number(cells, columns_.write_1h));
    GENESIS_TRY(usage.output, number(cells, columns_.output));
    usage.cache_write += write_1h;
    if (columns_.anthropic) {
      usage.input += usage.cached_input + usage.cache_write;
    }
    if (!ledger::validate_usage(usage)) {
      return fail_param(
          fmt::format("line {}", csv_.line()),
          fmt::format("line {}: its token counts contradict each other", csv_.line()));
    }
    return usage;
  }

  // The price table's name for a model: its own, one that was given, or the one without its date.
  const ledger::TokenPrice* price_of(std::string_view model, std::int64_t when) const {
    const auto given = reading_.price_as.find(model);
    std::string_view name = given == reading_.price_as.end() ? model : given->second;
    for (const std::size_t suffix : {std::size_t{0},
                                     std::string_view("-2025-11-04").size(),
                                     std::string_view("-20251104").size()}) {
      if (suffix >= name.size() || !is_date_suffix(name.substr(name.size() - suffix))) {
        continue;
      }
      const std::string_view base = name.substr(0, name.size() - suffix);
      // Usage from before the snapshot is valued at the snapshot.
      for (const std::int64_t at : {when, reading_.now_ms}) {
        if (const auto* price = reading_.prices->find(base, at)) {
          return price;
        }
      }
    }
    return nullptr;
  }

  static bool is_date_suffix(std::string_view text) {
    return text.empty() ||
           (text.front() == '-' && text.find_first_not_of("-0123456789") == std::string_view::npos);
  }

  Result<void> value(UsageLine& row, std::int64_t when, bool batch) const {
    const ledger::TokenPrice* price = price_of(row.model, when);
    if (price == nullptr) {
      return {};
    }
    row.valued_as = price->model;
    Usage plain = row.usage;
    plain.input -= row.cache_write_1h;
    plain.cache_write -= row.cache_write_1h;
    GENESIS_TRY(row.cost, ledger::token_cost(*price, plain));
    // An hour of cache costs twice the input (docs.anthropic.com, prompt caching).
    GENESIS_TRY(const NanoUsd hour,
                ledger::line_cost(row.cache_write_1h, 2 * price->input, ledger::kTokensPerPrice));
    GENESIS_TRY(row.cost, ledger::add_money(row.cost, hour));
    // Both providers bill batches at half the list price.
    row.cost = batch ? ledger::scale_money(row.cost, 1, 2, ledger::Rounding::kUp) : row.cost;
    return {};
  }

  Result<void> sum_up(const UsageLine& row) {
    UsageLine& line = models_[row.model];
    if (models_.size() > kMaxModels) {
      return fail(ErrorCode::kResourceExhausted,
                  fmt::format("line {}: more than {} models", csv_.line(), kMaxModels));
    }
    line.model = row.model;
    line.valued_as = row.valued_as;
    line.requests += row.requests;
    line.usage.input += row.usage.input;
    line.usage.cached_input += row.usage.cached_input;
    line.usage.cache_write += row.usage.cache_write;
    line.usage.output += row.usage.output;
    line.cache_write_1h += row.cache_write_1h;
    GENESIS_TRY(line.cost, ledger::add_money(line.cost, row.cost));
    if (!ledger::validate_usage(line.usage)) {
      return fail(ErrorCode::kResourceExhausted,
                  fmt::format("line {}: the sum of tokens is impossibly large", csv_.line()));
    }
    return {};
  }

  UsageExport finish() {
    UsageExport out{.provider = columns_.anthropic ? "anthropic" : "openai",
                    .rows = rows_,
                    .first_ms = first_ms_ - first_ms_ % kDayMs,
                    .last_ms = last_ms_};
    for (auto& [name, line] : models_) {
      out.lines.push_back(std::move(line));
    }
    std::ranges::sort(out.lines, [](const UsageLine& a, const UsageLine& b) {
      return a.cost != b.cost ? a.cost > b.cost : a.model < b.model;
    });
    return out;
  }

  CsvReader csv_;
  const UsageReading& reading_;
  Columns columns_;
  std::int64_t rows_ = 0;
  std::int64_t first_ms_ = 0;
  std::int64_t last_ms_ = 0;
  std::map<std::string, UsageLine> models_;
};

}  // namespace

Result<UsageExport> read_usage_export(std::string_view csv, const UsageReading& reading) {
  if (csv.size() > kMaxUsageBytes) {
    return fail(ErrorCode::kPayloadTooLarge, "the file is larger than 256 MiB");
  }
  return Rows(csv, reading).read();
}

}  // namespace genesis::app
