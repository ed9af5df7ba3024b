#include "app/config.h"

#include "api/catalog.h"
#include "app/config_read.h"
#include "base/file.h"
#include "ledger/money.h"
#include "store/postgres_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxConfigBytes = 1024 * 1024;

const OptionSpec* find_general(std::string_view key) {
  for (const OptionSpec& spec : general_options()) {
    if (spec.key == key) {
      return &spec;
    }
  }
  return nullptr;
}

Result<OptionMap> read_file_options(const Home& home) {
  auto text = read_file(home.config_file, kMaxConfigBytes);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound && !home.config_file_required) {
      return OptionMap{};
    }
    return config_error(home.config_file.string(), text.error().message);
  }
  return read_config_text(*text, home.config_file.string());
}

// file < environment < flags, then defaults for what is still unset.
Result<OptionMap> merge(const Home& home, const std::vector<OptionOverride>& flags) {
  GENESIS_TRY(OptionMap map, read_file_options(home));
  for (const OptionSpec& spec : general_options()) {
    if (!spec.environment.empty()) {
      const char* value =
          std::getenv(std::string(spec.environment).c_str());  // NOLINT(concurrency-mt-unsafe)
      if (value != nullptr && *value != '\0') {
        GENESIS_TRY(map[std::string(spec.key)],
                    read_option(spec, value, std::string(spec.environment)));
      }
    }
  }
  for (const OptionOverride& flag : flags) {
    const OptionSpec* spec = find_general(flag.key);
    if (spec == nullptr) {
      return config_error(flag.key, fmt::format("{}: unknown key '{}'", flag.flag, flag.key));
    }
    GENESIS_TRY(map[flag.key], read_option(*spec, flag.text, flag.flag));
  }
  for (const OptionSpec& spec : general_options()) {
    const std::string key(spec.key);
    if (!map.contains(key) && !is_name_table(spec)) {
      map[key] = OptionValue{
          .type = spec.type, .text = std::string(spec.fallback), .list = {}, .origin = "default"};
    }
  }
  return map;
}

endpoint::Budgets read_budgets(const OptionMap& map,
                               const std::string& prefix,
                               const endpoint::Budgets& base) {
  const auto ms = [&](const char* key, std::chrono::milliseconds fallback) {
    return std::chrono::milliseconds(integer_of(map, prefix + "budgets." + key, fallback.count()));
  };
  return {.connect = ms("connect_ms", base.connect),
          .first_token = ms("first_token_ms", base.first_token),
          .between_tokens = ms("between_tokens_ms", base.between_tokens),
          .total = ms("total_ms", base.total)};
}

endpoint::DispatchOptions read_retry(const OptionMap& map) {
  return {.max_attempts = static_cast<int>(integer_of(map, "retry.max_attempts")),
          .retry_budget = {.percent = static_cast<int>(integer_of(map, "retry.percent")),
                           .floor = static_cast<int>(integer_of(map, "retry.floor"))}};
}

endpoint::BreakerOptions read_outlier(const OptionMap& map) {
  const auto number = [&](const char* key) {
    return integer_of(map, std::string("outlier.") + key);
  };
  return {.failures_to_eject = static_cast<int>(number("failures_in_a_row")),
          .failure_percent_to_eject = static_cast<int>(number("failure_percent")),
          .first_ejection = std::chrono::milliseconds(number("first_ejection_ms")),
          .max_ejection = std::chrono::milliseconds(number("max_ejection_ms")),
          .ramp = std::chrono::milliseconds(number("ramp_ms"))};
}

Result<EndpointConfig> read_endpoint(const OptionMap& map,
                                     const std::string& prefix,
                                     const endpoint::Budgets& base) {
  const std::string where = text_of(map, prefix).empty() ? find(map, prefix)->origin : "";
  EndpointConfig out;
  out.name = text_of(map, prefix + "name");
  if (!is_name(out.name)) {
    return config_error(
        prefix + "name",
        fmt::format("{}: an [[endpoint]] needs a 'name' of letters, digits and ._-:/", where));
  }
  out.kind = text_of(map, prefix + "kind") == "local" ? EndpointKind::kLocal : EndpointKind::kUrl;
  out.tier =
      tier_from_name(text_of(map, prefix + "tier"))
          .value_or(out.kind == EndpointKind::kLocal ? Tier::kSelfHosted : Tier::kCommercial);
  out.model = text_of(map, prefix + "model");
  out.draft = text_of(map, prefix + "draft");
  const std::string url = text_of(map, prefix + "url");
  GENESIS_TRY_VOID(read_upstream(map, prefix, out));
  if (out.kind == EndpointKind::kUrl) {
    auto parsed = net::parse_base_url(url);
    if (!parsed) {
      return config_error(prefix + "url",
                          fmt::format("{}: endpoint '{}': {}",
                                      where,
                                      out.name,
                                      url.empty() ? "'url' is missing" : parsed.error().message),
                          out.dialect == UpstreamDialect::kOpenAi ? "url = \"https://host/v1\""
                                                                  : "url = \"https://host\"");
    }
    out.url = std::move(*parsed);
    if (out.model.empty()) {
      return config_error(prefix + "model",
                          fmt::format("{}: endpoint '{}' needs a 'model'", where, out.name));
    }
    if (!out.draft.empty()) {
      return config_error(prefix + "draft",
                          fmt::format("{}: endpoint '{}' is a url: only a local endpoint takes a "
                                      "'draft' model",
                                      where,
                                      out.name));
    }
  } else if (!url.empty()) {
    return config_error(
        prefix + "url",
        fmt::format("{}: endpoint '{}' is local and takes no 'url'", where, out.name));
  }
  if (out.model.empty()) {
    out.model = kDefaultModel;
  }
  out.api_key_source = text_of(map, prefix + "api_key");
  out.price_model = text_of(map, prefix + "price_model");
  out.price_input = text_of(map, prefix + "price.input");
  out.price_cached_input = text_of(map, prefix + "price.cached_input");
  out.price_output = text_of(map, prefix + "price.output");
  out.price_per_hour = text_of(map, prefix + "price.per_hour");
  if (out.price_input.empty() != out.price_output.empty()) {
    return config_error(
        prefix + "price",
        fmt::format("{}: endpoint '{}': give both price.input and price.output", where, out.name));
  }
  out.budgets = read_budgets(map, prefix, base);
  out.always_stream = text_of(map, prefix + "always_stream") != "false";
  out.context = integer_of(map, prefix + "context");
  out.max_in_flight = static_cast<int>(integer_of(map, prefix + "max_in_flight"));
  out.outlier = read_outlier(map);
  return out;
}

Result<void> read_endpoints(const OptionMap& map, Config& config) {
  for (int i = 0; map.contains(fmt::format("endpoint[{}].", i)); ++i) {
    GENESIS_TRY(EndpointConfig endpoint,
                read_endpoint(map, fmt::format("endpoint[{}].", i), config.budgets));
    for (const EndpointConfig& other : config.endpoints) {
      if (other.name == endpoint.name) {
        return config_error("endpoint.name",
                            fmt::format("{}: two endpoints are called '{}'",
                                        find(map, fmt::format("endpoint[{}].", i))->origin,
                                        endpoint.name),
                            "give one of them another name");
      }
    }
    config.endpoints.push_back(std::move(endpoint));
  }
  if (config.endpoints.empty()) {
    config.endpoints.push_back({.name = "local",
                                .kind = EndpointKind::kLocal,
                                .tier = Tier::kSelfHosted,
                                .model = std::string(kDefaultModel),
                                .budgets = config.budgets});
  }
  return {};
}

// [[adapter]]: served under its name, beside the model that it changes.
Result<void> read_adapters(const OptionMap& map, Config& config) {
  for (int i = 0; map.contains(fmt::format("adapter[{}].", i)); ++i) {
    const std::string prefix = fmt::format("adapter[{}].", i);
    const std::string where = find(map, prefix)->origin;
    std::string name = text_of(map, prefix + "name");
    std::string folder = text_of(map, prefix + "path");
    if (!is_name(name) || folder.empty()) {
      return config_error(
          prefix + (is_name(name) ? "path" : "name"),
          fmt::format("{}: an [[adapter]] needs a 'name' of letters, digits and ._-:/ and a 'path'",
                      where));
    }
    const auto taken = [&](const EndpointConfig& endpoint) {
      return endpoint.name == name || endpoint.model == name;
    };
    if (std::ranges::any_of(config.endpoints, taken)) {
      return config_error(prefix + "name",
                          fmt::format("{}: something else is called '{}'", where, name),
                          "give one of them another name");
    }
    auto base = adapter_base(config, text_of(map, prefix + "endpoint"), prefix + "endpoint");
    if (!base) {
      base.error().message = fmt::format("{}: {}", where, base.error().message);
      base.error().code = ErrorCode::kConfig;
      return std::unexpected(std::move(base).error());
    }
    EndpointConfig endpoint = adapter_endpoint(**base, std::move(name), std::move(folder));
    config.endpoints.push_back(std::move(endpoint));
  }
  return {};
}

Result<ledger::TokenRatio> read_token_ratio(const OptionMap& map) {
  const OptionValue& value = map.at("ledger.baseline_token_ratio");
  auto ratio = ledger::parse_token_ratio(value.text);
  if (!ratio) {
    return config_error("ledger.baseline_token_ratio",
                        fmt::format("{}: {}", value.origin, ratio.error().message));
  }
  return ratio;
}

// [[budget]]: whose, how much and in which window.
Result<ledger::Budget> read_spend_limit(const OptionMap& map, const std::string& prefix) {
  const std::string where = find(map, prefix)->origin;
  ledger::Budget budget{.origin = "file"};
  int subjects = 0;
  for (const auto scope :
       {ledger::BudgetScope::kTeam, ledger::BudgetScope::kKey, ledger::BudgetScope::kAgent}) {
    const std::string subject = text_of(map, prefix + std::string(ledger::scope_name(scope)));
    if (!subject.empty()) {
      budget.scope = scope;
      budget.subject = subject;
      ++subjects;
    }
  }
  if (subjects > 1) {
    return config_error(
        prefix + "team",
        fmt::format("{}: a [[budget]] has one of 'team', 'key' and 'agent', or none", where),
        "write one [[budget]] for each");
  }
  const std::string usd = text_of(map, prefix + "usd");
  if (usd.empty()) {
    return config_error(prefix + "usd",
                        fmt::format("{}: a [[budget]] needs 'usd', such as \"10.00\"", where));
  }
  GENESIS_TRY(budget.limit, ledger::parse_usd(usd));
  const std::string per = text_of(map, prefix + "per");
  budget.per = ledger::window_from_name(per).value_or(ledger::BudgetWindow::kMonth);
  GENESIS_TRY_VOID(ledger::validate_budget(budget));
  return budget;
}

Result<void> read_spend_limits(const OptionMap& map, Config& config) {
  for (int i = 0; map.contains(fmt::format("budget[{}].", i)); ++i) {
    const std::string prefix = fmt::format("budget[{}].", i);
    GENESIS_TRY(ledger::Budget budget, read_spend_limit(map, prefix));
    if (std::ranges::find(config.spend_limits, budget.id(), &ledger::Budget::id) !=
        config.spend_limits.end()) {
      return config_error(
          prefix + "usd",
          fmt::format("{}: the budget '{}' is set twice", find(map, prefix)->origin, budget.id()));
    }
    config.spend_limits.push_back(std::move(budget));
  }
  return {};
}

Result<OtelConfig> read_otel(const OptionMap& map) {
  OtelConfig otel{.header = text_of(map, "otel.header"),
                  .secret_source = text_of(map, "otel.secret")};
  const OptionValue& endpoint = map.at("otel.endpoint");
  if (!endpoint.text.empty()) {
    auto url = net::parse_base_url(endpoint.text);
    if (!url) {
      return config_error("otel.endpoint",
                          fmt::format("{}: {}", endpoint.origin, url.error().message),
                          "otel.endpoint = \"http://127.0.0.1:4318\"");
    }
    otel.endpoint = std::move(*url);
  }
  const OptionValue& ratio = map.at("otel.sample_ratio");
  const auto end =
      std::from_chars(ratio.text.data(), ratio.text.data() + ratio.text.size(), otel.sample_ratio);
  if (end.ec != std::errc() || otel.sample_ratio > 1) {
    return config_error("otel.sample_ratio",
                        fmt::format("{}: must be between \"0\" and \"1\"", ratio.origin));
  }
  return otel;
}

// A password may come in the environment's URL; it must not be seen by whoever shows the options.
Result<void> read_database(Config& config) {
  OptionValue& url = config.origins.at("ledger.database_url");
  config.database_password_source = text_of(config.origins, "ledger.database_password");
  if (url.text.empty()) {
    return {};
  }
  config.database_url = url.text;
  auto shown = store::shown_postgres_url(url.text);
  if (!shown) {
    shown.error().message = fmt::format("{}: {}", url.origin, shown.error().message);
    return std::unexpected(std::move(shown.error()));
  }
  GENESIS_TRY(const bool secret, store::has_password(url.text));
  if (secret && url.origin != "GENESIS_DB_URL") {
    return config_error("ledger.database_url",
                        fmt::format("{}: the database URL holds a password", url.origin),
                        "write database_password = { env = \"NAME\" } or { file = \"path\" }");
  }
  config.database_shown = std::move(*shown);
  url.text = config.database_shown;
  return {};
}

}  // namespace

Result<Config> load_config(const Home& home, const std::vector<OptionOverride>& flags) {
  Config config;
  GENESIS_TRY(config.origins, merge(home, flags));
  const OptionMap& map = config.origins;
  const OptionValue& listen = map.at("server.listen");
  auto address = net::parse_address(listen.text);
  if (!address) {
    return config_error("server.listen",
                        fmt::format("{}: {}", listen.origin, address.error().message),
                        "use host:port, for example 127.0.0.1:8080");
  }
  config.listen = std::move(*address);
  config.max_body_bytes = static_cast<std::size_t>(integer_of(map, "server.max_body_bytes"));
  config.max_concurrent = static_cast<int>(integer_of(map, "server.max_concurrent"));
  config.require_key = text_of(map, "server.require_key") == "true" || !config.listen.is_loopback();
  config.keys_trusted = std::chrono::seconds(integer_of(map, "server.keys_trusted_s"));
  config.allowed_hosts = list_of(map, "server.allowed_hosts");
  config.check_host = text_of(map, "server.check_host") == "true";
  config.tls_cert = text_of(map, "server.tls.cert");
  config.tls_key = text_of(map, "server.tls.key");
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    const std::string given = config.tls_cert.empty() ? "server.tls.key" : "server.tls.cert";
    return config_error(
        "server.tls",
        fmt::format("{}: server.tls needs both 'cert' and 'key'", map.at(given).origin));
  }
  config.insecure_plaintext = text_of(map, "server.insecure_plaintext") == "true";
  config.public_metrics = text_of(map, "server.public_metrics") == "true";
  config.metrics_key_source = text_of(map, "server.metrics_key");
  GENESIS_TRY(config.otel, read_otel(map));
  config.max_memory_mib = integer_of(map, "server.max_memory_mib");
  config.unready = std::chrono::seconds(integer_of(map, "server.unready_s"));
  config.drain = std::chrono::seconds(integer_of(map, "server.drain_s"));
  config.max_connections = static_cast<int>(integer_of(map, "server.max_connections"));
  const std::string ledger_path = text_of(map, "ledger.path");
  config.ledger_path = ledger_path.empty() ? home.database() : std::filesystem::path(ledger_path);
  GENESIS_TRY_VOID(read_database(config));
  config.baselines.model = text_of(map, "ledger.baseline_model");
  GENESIS_TRY(config.baseline_tokens, read_token_ratio(map));
  config.price_file = text_of(map, "ledger.price_file");
  config.machine_usd_per_hour = text_of(map, "local.machine_usd_per_hour");
  config.engine = {
      .threads = static_cast<int>(integer_of(map, "engine.threads")),
      .kv_bytes = integer_of(map, "engine.kv_mib") * 1024 * 1024,
      .kv_format = text_of(map, "engine.kv"),
      .max_context = static_cast<int>(integer_of(map, "engine.max_context")),
      .max_batch = static_cast<int>(integer_of(map, "engine.max_batch")),
      .max_queue = static_cast<int>(integer_of(map, "engine.max_queue")),
      .prefix_cache = text_of(map, "engine.prefix_cache") == "true",
      .speculation = text_of(map, "engine.speculation") == "true",
      .step_target = std::chrono::milliseconds(integer_of(map, "engine.step_target_ms")),
      .isa = text_of(map, "engine.isa"),
      .idle_stop = std::chrono::seconds(integer_of(map, "engine.idle_stop_s")),
      .memory_bytes = integer_of(map, "engine.memory_mib") * 1024 * 1024};
  config.budgets = read_budgets(map, "", {});
  config.retry = read_retry(map);
  config.default_route = text_of(map, "routing.default_route");
  config.log_level = log_level_from_name(text_of(map, "log.level")).value_or(LogLevel::kInfo);
  config.log_format = text_of(map, "log.format");
  GENESIS_TRY_VOID(read_endpoints(map, config));
  GENESIS_TRY_VOID(read_adapters(map, config));
  GENESIS_TRY_VOID(read_routing(map, config));
  GENESIS_TRY_VOID(read_spend_limits(map, config));
  return config;
}

EndpointConfig adapter_endpoint(const EndpointConfig& base, std::string name, std::string folder) {
  EndpointConfig endpoint = base;
  endpoint.model = name;
  endpoint.name = std::move(name);
  endpoint.adapter_of = base.name;
  endpoint.adapter_folder = std::move(folder);
  endpoint.price_per_hour.clear();
  return endpoint;
}

Result<const EndpointConfig*> adapter_base(const Config& config,
                                           const std::string& name,
                                           const std::string& field) {
  const EndpointConfig* found = nullptr;
  for (const EndpointConfig& endpoint : config.endpoints) {
    if (endpoint.kind != EndpointKind::kLocal || !endpoint.adapter_of.empty() ||
        (!name.empty() && endpoint.name != name)) {
      continue;
    }
    if (found != nullptr) {
      return fail_param(field, "there is more than one local endpoint: name the one it is for");
    }
    found = &endpoint;
  }
  if (found == nullptr) {
    return fail_param(field,
                      name.empty() ? std::string("there is no local endpoint to put an adapter on")
                                   : fmt::format("there is no local endpoint '{}'", name));
  }
  return found;
}

void serve_only(Config& config, const std::string& model) {
  config.endpoints = {{.name = "local",
                       .kind = EndpointKind::kLocal,
                       .tier = Tier::kSelfHosted,
                       .model = model,
                       .budgets = config.budgets}};
  config.routes = {{.name = config.default_route, .endpoints = {"local"}, .aliases = {}}};
  config.agents.clear();
  config.cheap_models.clear();
  config.commercial_cap.reset();
}

Result<void> check_transport(const Config& config) {
  if (config.listen.is_loopback() || !config.tls_cert.empty() || config.insecure_plaintext) {
    return {};
  }
  return config_error("server.tls",
                      fmt::format("{} is reachable from other machines and keys would travel in "
                                  "plain text",
                                  config.listen.to_string()),
                      "set server.tls = { cert = \"...\", key = \"...\" }, or "
                      "server.insecure_plaintext = true behind a proxy that has TLS");
}

}  // namespace genesis::app
