#include "app/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

namespace genesis::app {

namespace {

using enum OptionType;

constexpr std::int64_t kMaxMs = 86'400'000;  // a day

constexpr std::array kGeneral = {
    OptionSpec{"server.listen",
               kString,
               "127.0.0.1:8080",
               "Address and port, or unix:/path.",
               0,
               0,
               {},
               "GENESIS_HOST"},
    OptionSpec{"server.max_body_bytes",
               kInteger,
               "20971520",
               "Larger request bodies get 413.",
               1'024,
               1'073'741'824},
    OptionSpec{"server.max_concurrent",
               kInteger,
               "1024",
               "Requests in flight; above it 429.",
               1,
               1'000'000},
    OptionSpec{"server.require_key",
               kBool,
               "false",
               "Ask for a key on loopback too; always true elsewhere."},
    OptionSpec{
        "server.keys_trusted_s",
        kInteger,
        "300",
        "How long known keys work while the database is away; so long does one revoked then.",
        1,
        604'800},
    OptionSpec{"server.allowed_hosts",
               kList,
               "",
               "Further names accepted in the Host header without a key."},
    OptionSpec{"server.check_host",
               kBool,
               "true",
               "Refuse Host names that are not ours, with a key too (on loopback, or when "
               "allowed_hosts is set)."},
    OptionSpec{"server.tls.cert", kString, "", "PEM file: certificate chain, own one first."},
    OptionSpec{"server.tls.key", kString, "", "PEM file: the certificate's private key."},
    OptionSpec{"server.insecure_plaintext",
               kBool,
               "false",
               "Serve other machines without TLS, as behind a proxy that has it."},
    OptionSpec{"server.public_metrics", kBool, "false", "GET /metrics without a key."},
    OptionSpec{"server.metrics_key",
               kSecret,
               "",
               "A key for GET /metrics alone: { env = \"X\" } or { file = \"path\" }."},
    OptionSpec{"server.max_memory_mib",
               kInteger,
               "0",
               "Memory that counts as full, MiB; 0 = of the control group or the machine.",
               0,
               1'073'741'824},
    OptionSpec{"server.max_connections",
               kInteger,
               "10000",
               "Open connections; further ones are closed at once.",
               1,
               10'000'000},
    OptionSpec{"server.drain_s",
               kInteger,
               "30",
               "At the end, time for requests in flight before they are stopped with an error.",
               1,
               86'400},
    OptionSpec{"server.unready_s",
               kInteger,
               "0",
               "At the end, time in which only readiness is off, for load balancers to notice.",
               0,
               3'600},
    OptionSpec{"ledger.path", kString, "", "Database file; empty = in the data folder."},
    OptionSpec{"ledger.database_url",
               kString,
               "",
               "PostgreSQL instead of the file: postgresql://user@host/database?sslmode=...",
               0,
               0,
               {},
               "GENESIS_DB_URL"},
    OptionSpec{"ledger.database_password",
               kSecret,
               "",
               "Its password: { env = \"X\" } or { file = \"path\" }; or use PGPASSFILE."},
    OptionSpec{"ledger.baseline_model",
               kString,
               "gpt-4o",
               "Model whose list price savings are measured against; pinned in the ledger."},
    OptionSpec{"ledger.baseline_token_ratio",
               kString,
               "0.90..1.10",
               "The baseline model's tokens for one of the served model's: the saving's interval."},
    OptionSpec{"ledger.price_file", kString, "", "Further dated prices (JSON)."},
    OptionSpec{"local.machine_usd_per_hour",
               kUsd,
               "0.06",
               "What an hour of the machine under a local engine costs."},
    OptionSpec{"engine.threads", kInteger, "0", "Compute threads; 0 = physical cores.", 0, 1'024},
    OptionSpec{"engine.kv_mib", kInteger, "512", "Memory for keys and values, MiB.", 1, 1'048'576},
    OptionSpec{"engine.kv",
               kChoice,
               "int8",
               "How keys and values are kept; fp16 takes twice the memory.",
               0,
               0,
               "int8|fp16"},
    OptionSpec{"engine.max_context",
               kInteger,
               "0",
               "Tokens per request; 0 = what the model declares.",
               0,
               10'000'000},
    OptionSpec{"engine.max_batch", kInteger, "64", "Sequences computed together.", 1, 4'096},
    OptionSpec{"engine.max_queue",
               kInteger,
               "256",
               "Sequences that may wait; above it 429.",
               1,
               1'000'000},
    OptionSpec{
        "engine.prefix_cache",
        kBool,
        "true",
        "Take keys and values of what prompts have in common instead of computing them again."},
    OptionSpec{"engine.speculation",
               kBool,
               "true",
               "Guess tokens from what was said before, where it pays; answers stay the same."},
    OptionSpec{"engine.step_target_ms",
               kInteger,
               "50",
               "New prompts hold up those that wait for their next token by about so long at most.",
               1,
               10'000},
    OptionSpec{"engine.isa",
               kChoice,
               "",
               "Force a kernel tier; empty = the best of the machine.",
               0,
               0,
               "scalar|avx2|avx512vnni|amx|"},
    OptionSpec{"engine.idle_stop_s",
               kInteger,
               "0",
               "Stop an idle engine after so long; 0 = never.",
               0,
               31'536'000},
    OptionSpec{"engine.memory_mib",
               kInteger,
               "0",
               "Address space of an engine, MiB; 0 = no cap.",
               0,
               1'073'741'824},
    OptionSpec{"budgets.connect_ms", kInteger, "2000", "To open a connection.", 1, kMaxMs},
    OptionSpec{"budgets.first_token_ms", kInteger, "30000", "Until the first token.", 1, kMaxMs},
    OptionSpec{"budgets.between_tokens_ms", kInteger, "15000", "Between two tokens.", 1, kMaxMs},
    OptionSpec{"budgets.total_ms",
               kInteger,
               "600000",
               "For the whole request, all attempts together.",
               1,
               kMaxMs},
    OptionSpec{"retry.max_attempts",
               kInteger,
               "6",
               "Attempts at one request, over all endpoints.",
               1,
               100},
    OptionSpec{"retry.percent",
               kInteger,
               "20",
               "Retries, hedges and paid replays under way, of the active requests.",
               0,
               100},
    OptionSpec{"retry.floor",
               kInteger,
               "3",
               "So many of them are allowed however few requests are active.",
               0,
               10'000},
    OptionSpec{"outlier.failures_in_a_row",
               kInteger,
               "3",
               "An endpoint that fails so often in a row is left alone for a while.",
               1,
               1'000},
    OptionSpec{"outlier.failure_percent",
               kInteger,
               "60",
               "So is one that fails more often than this, as a moving average.",
               1,
               100},
    OptionSpec{"outlier.first_ejection_ms",
               kInteger,
               "1000",
               "Left alone at most so long the first time, doubled each time.",
               1,
               kMaxMs},
    OptionSpec{"outlier.max_ejection_ms", kInteger, "15000", "And never longer.", 1, kMaxMs},
    OptionSpec{"outlier.ramp_ms",
               kInteger,
               "10000",
               "Time from a tenth of its work back to all of it; 0 = at once.",
               0,
               kMaxMs},
    OptionSpec{"routing.default_route", kString, "auto", "Route of requests that carry no model."},
    OptionSpec{"cheap_model_mapping.*",
               kString,
               "",
               "By task: the route, endpoint or model that is asked first."},
    OptionSpec{
        "commercial.max_share",
        kString,
        "1%",
        "Most dispatches to the commercial tier, as a share of all requests; 100% = no cap."},
    OptionSpec{
        "commercial.window", kString, "24h", "Sliding window of the share: 90s, 30m, 24h, 7d."},
    OptionSpec{"commercial.min_requests",
               kInteger,
               "5",
               "Commercial dispatches allowed in a window whatever their share.",
               0,
               1'000'000'000},
    OptionSpec{"traces.max_requests",
               kInteger,
               "50000",
               "Requests kept for genesis explain; 0 = none.",
               0,
               10'000'000},
    OptionSpec{"traces.max_age", kString, "7d", "How long they are kept."},
    OptionSpec{"otel.endpoint",
               kString,
               "",
               "OpenTelemetry collector, such as http://127.0.0.1:4318; empty = no traces."},
    OptionSpec{"otel.header", kString, "authorization", "Field that carries otel.secret."},
    OptionSpec{"otel.secret",
               kSecret,
               "",
               "Sent to the collector; after \"Bearer \" when the field is authorization."},
    OptionSpec{"otel.sample_ratio",
               kUsd,
               "1",
               "Share of the requests that are traced, for those whose client did not decide."},
    OptionSpec{"log.level",
               kChoice,
               "info",
               "What is logged.",
               0,
               0,
               "debug|info|warn|error|off",
               "GENESIS_LOG"},
    OptionSpec{"log.format",
               kChoice,
               "text",
               "How it is logged.",
               0,
               0,
               "text|json",
               "GENESIS_LOG_FORMAT"},
};

constexpr std::array kEndpoint = {
    OptionSpec{"name", kString, "", "Unique name, also usable as `model`."},
    OptionSpec{"kind",
               kChoice,
               "url",
               "An engine of ours, or any OpenAI-compatible server.",
               0,
               0,
               "local|url"},
    OptionSpec{"tier",
               kChoice,
               "",
               "Empty: local = self_hosted, url = commercial.",
               0,
               0,
               "self_hosted|managed|commercial|"},
    OptionSpec{"dialect",
               kChoice,
               "openai",
               "What a url speaks. TGI v3 speaks openai, too, and needs it for conversations.",
               0,
               0,
               "openai|anthropic|tgi|tei"},
    OptionSpec{"url",
               kString,
               "",
               "Base URL as the dialect's client takes it, e.g. https://host/v1 for openai."},
    OptionSpec{
        "model", kString, "", "The endpoint's own name of the model; for local a pulled model."},
    OptionSpec{
        "draft",
        kString,
        "",
        "Local: a pulled model with the same vocabulary that guesses what this one will say."},
    OptionSpec{"api_key",
               kSecret,
               "",
               "{ env = \"X\" } or { file = \"path\" }; sent as the dialect wants."},
    OptionSpec{"headers",
               kTable,
               "",
               "Header fields for every request: { name = \"value\", other = { env = \"X\" } }."},
    OptionSpec{"always_stream",
               kBool,
               "true",
               "Ask the endpoint to stream even for whole answers, so that its silence shows."},
    OptionSpec{"context",
               kInteger,
               "0",
               "Tokens its model's context holds; what is too long elsewhere may fit here.",
               0,
               100'000'000},
    OptionSpec{"max_in_flight",
               kInteger,
               "0",
               "Requests it gets at the same time; 0 = no limit.",
               0,
               1'000'000},
    OptionSpec{"price_model", kString, "", "Name in the price table; empty = model."},
    OptionSpec{"price.input", kUsd, "", "USD per million input tokens."},
    OptionSpec{"price.cached_input", kUsd, "", "USD per million cached input tokens."},
    OptionSpec{"price.output", kUsd, "", "USD per million output tokens."},
    OptionSpec{"price.per_hour", kUsd, "", "USD per hour while the endpoint is configured."},
    OptionSpec{
        "budgets.connect_ms", kInteger, "", "Overrides [budgets] for this endpoint.", 1, kMaxMs},
    OptionSpec{"budgets.first_token_ms",
               kInteger,
               "",
               "Overrides [budgets] for this endpoint.",
               1,
               kMaxMs},
    OptionSpec{"budgets.between_tokens_ms",
               kInteger,
               "",
               "Overrides [budgets] for this endpoint.",
               1,
               kMaxMs},
    OptionSpec{
        "budgets.total_ms", kInteger, "", "Overrides [budgets] for this endpoint.", 1, kMaxMs},
};

constexpr std::array kRoute = {
    OptionSpec{"name", kString, "", "What clients put into `model`."},
    OptionSpec{"endpoints", kList, "", "Endpoint names in order of preference."},
    OptionSpec{"aliases", kList, "", "Further names for the same route."},
    OptionSpec{"tiers",
               kList,
               "",
               "Only endpoints of these tiers, in this order; without `endpoints` all of them."},
    OptionSpec{"policy", kChoice, "rule", "Who orders the endpoints.", 0, 0, "rule"},
    OptionSpec{"balance",
               kChoice,
               "",
               "How neighbours of one tier share; empty: weighted where there are weights.",
               0,
               0,
               "order|weighted|least_load|"},
    OptionSpec{"weights.*", kInteger, "1", "Share of an endpoint; 0 = last.", 0, 1'000'000},
    OptionSpec{"sticky",
               kChoice,
               "off",
               "What stays at the endpoint whose cache it warmed.",
               0,
               0,
               "session|prefix|off"},
    OptionSpec{"hedge_ms",
               kInteger,
               "0",
               "Ask the next endpoint too when no token came for so long; 0 = never.",
               0,
               kMaxMs},
    OptionSpec{"rescue",
               kChoice,
               "replay",
               "Of a cut answer: finish it elsewhere where that is exact, or hold it back until it "
               "is whole.",
               0,
               0,
               "replay|hold|off"},
    OptionSpec{"baseline",
               kString,
               "",
               "Model its answers are compared with; empty = ledger.baseline_model."},
};

constexpr std::array kAdapter = {
    OptionSpec{"name", kString, "", "What clients put into `model`, and routes into `endpoints`."},
    OptionSpec{"path",
               kString,
               "",
               "A folder as PEFT saves one: adapter_config.json, adapter_model.safetensors."},
    OptionSpec{"endpoint",
               kString,
               "",
               "The local endpoint whose model it changes; empty = the only one there is."},
};

constexpr std::array kAgent = {
    OptionSpec{"name", kString, "", "What clients put into `model` or x-genesis-agent."},
    OptionSpec{"model", kString, "", "The route, endpoint or model it uses."},
    OptionSpec{"task", kString, "", "Its task in [cheap_model_mapping], if the caller names none."},
    OptionSpec{"budget",
               kString,
               "",
               "USD in a window, such as 30.00/month: as a [[budget]] of this agent."},
};

constexpr std::array kBudget = {
    OptionSpec{
        "team", kString, "", "Whose spending is limited: one of team, key and agent, or all."},
    OptionSpec{"key", kString, "", "A key's id, as `genesis key ls` shows it."},
    OptionSpec{"agent", kString, "", "An agent's name, as its requests tell it."},
    OptionSpec{"usd", kUsd, "", "USD in a window."},
    OptionSpec{"per", kChoice, "month", "The window, in UTC.", 0, 0, "day|week|month|total"},
};

bool is_decimal(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const std::size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  const std::string_view part = dot == std::string_view::npos ? "0" : text.substr(dot + 1);
  return !whole.empty() && whole.size() <= 9 && std::ranges::all_of(whole, digit) &&
         !part.empty() && part.size() <= 9 && std::ranges::all_of(part, digit);
}

bool is_choice(std::string_view choices, std::string_view text) {
  while (true) {
    const std::size_t bar = choices.find('|');
    if (choices.substr(0, bar) == text) {
      return true;
    }
    if (bar == std::string_view::npos) {
      return false;
    }
    choices.remove_prefix(bar + 1);
  }
}

std::unexpected<Error> bad_value(const OptionSpec& spec,
                                 std::string_view origin,
                                 const std::string& must) {
  return fail_param(std::string(spec.key),
                    fmt::format("{}: '{}' {}", origin, spec.key, must),
                    ErrorCode::kConfig);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const OptionSpec> general_options() {
  return kGeneral;
}

std::span<const OptionSpec> endpoint_options() {
  return kEndpoint;
}

std::span<const OptionSpec> route_options() {
  return kRoute;
}

std::span<const OptionSpec> adapter_options() {
  return kAdapter;
}

std::span<const OptionSpec> agent_options() {
  return kAgent;
}

std::span<const OptionSpec> budget_options() {
  return kBudget;
}

Result<OptionValue> read_option(const OptionSpec& spec, std::string_view text, std::string origin) {
  switch (spec.type) {
    case kInteger: {
      std::int64_t value = 0;
      const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
      if (end.ec != std::errc() || end.ptr != text.data() + text.size()) {
        return bad_value(spec, origin, "must be an integer");
      }
      if (value < spec.low || value > spec.high) {
        return bad_value(
            spec, origin, fmt::format("must be between {} and {}", spec.low, spec.high));
      }
      break;
    }
    case kBool:
      if (text != "true" && text != "false") {
        return bad_value(spec, origin, "must be true or false");
      }
      break;
    case kChoice:
      if (!is_choice(spec.choices, text)) {
        // A bar at the end allows an empty text, which is not worth telling.
        const std::string_view choices = spec.choices;
        return bad_value(
            spec,
            origin,
            fmt::format("must be one of {}", choices.substr(0, choices.find_last_not_of('|') + 1)));
      }
      break;
    case kUsd:
      if (!is_decimal(text)) {
        return bad_value(spec, origin, "must be a plain decimal in quotes, such as \"2.50\"");
      }
      break;
    case kString:
    case kList:
    case kSecret:
    case kTable:
      break;
  }
  return OptionValue{
      .type = spec.type, .text = std::string(text), .list = {}, .origin = std::move(origin)};
}

std::string shown_value(const OptionValue& value) {
  if (value.type != OptionType::kList) {
    return value.text;
  }
  std::string out;
  for (const std::string& item : value.list) {
    out += out.empty() ? item : ", " + item;
  }
  return "[" + out + "]";
}

void write_options(JsonWriter& writer, const OptionMap& map) {
  writer.begin_array();
  for (const auto& [key, value] : map) {
    if (key.ends_with(".")) {
      continue;  // the marker of a whole [[table]]
    }
    writer.begin_object();
    writer.field("key", key);
    writer.field("value", shown_value(value));
    writer.field("origin", value.origin);
    writer.end_object();
  }
  writer.end_array();
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace genesis::app
