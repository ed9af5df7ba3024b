#include "app/import_litellm.h"

#include "app/yaml.h"
#include "base/json.h"
#include "ledger/money.h"
#include "ledger/price_table.h"
#include "net/http.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>

namespace genesis::app {

namespace {

// LiteLLM's provider prefixes that are reached here, Anthropic in its own dialect and the others in
// OpenAI's; the addresses and variables
// are those of litellm-docs, docs/providers/*.md. `url` is empty where the file must name it.
struct Provider {
  std::string_view prefix;
  std::string_view url;
  std::string_view key_variable;  // what LiteLLM reads when the file names no key
  std::string_view tier;
};

constexpr std::array kProviders = {
    Provider{"openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "commercial"},
    Provider{"text-completion-openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "commercial"},
    Provider{"anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "commercial"},
    Provider{"azure", "", "AZURE_API_KEY", "commercial"},
    Provider{"gemini",
             "https://generativelanguage.googleapis.com/v1beta/openai",
             "GEMINI_API_KEY",
             "commercial"},
    Provider{"mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "commercial"},
    Provider{"deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "commercial"},
    Provider{"groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "commercial"},
    Provider{"xai", "https://api.x.ai/v1", "XAI_API_KEY", "commercial"},
    Provider{"together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY", "managed"},
    Provider{
        "fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY", "managed"},
    Provider{"deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "managed"},
    Provider{"openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "commercial"},
    Provider{"perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "commercial"},
    Provider{"cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "managed"},
    Provider{"hosted_vllm", "", "", "self_hosted"},
    Provider{"vllm", "", "", "self_hosted"},
    Provider{"openai_like", "", "", "self_hosted"},
    Provider{"custom_openai", "", "", "self_hosted"},
    Provider{"llamafile", "http://127.0.0.1:8080/v1", "", "self_hosted"},
    Provider{"lm_studio", "", "", "self_hosted"},
    Provider{"ollama", "http://127.0.0.1:11434/v1", "", "self_hosted"},
    Provider{"ollama_chat", "http://127.0.0.1:11434/v1", "", "self_hosted"},
    Provider{"huggingface", "", "HF_TOKEN", "managed"},
};

const Provider* find_provider(std::string_view prefix) {
  const auto* at = std::ranges::find(kProviders, prefix, &Provider::prefix);
  return at == kProviders.end() ? nullptr : at;
}

// A TOML basic string; JSON's escapes are valid in it.
std::string toml_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string toml_list(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) {
    out += (out.size() > 1 ? ", " : "") + toml_string(word);
  }
  return out + "]";
}

// Letters, digits and ._-:/ are what a name may have here.
std::string as_name(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 100)) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("._-:/").contains(c);
    out += good ? c : '-';
  }
  return out.empty() ? "unnamed" : out;
}

// "2.5e-06" USD a token -> "2.5" USD a million tokens, without a floating-point number on the way;
// nullopt for what is no such amount.
std::optional<std::string> per_million(std::string_view text) {
  const std::size_t e = text.find_first_of("eE");
  int exponent = 6;
  if (e != std::string_view::npos) {
    std::string_view digits = text.substr(e + 1);
    digits.remove_prefix(digits.starts_with('+') ? 1 : 0);
    int given = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), given);
    if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() || given < -30 ||
        given > 3) {
      return std::nullopt;
    }
    exponent += given;
  }
  const std::string_view number = text.substr(0, e);
  const std::size_t point = number.find('.');
  std::string digits(number.substr(0, point));
  const std::string part(point == std::string_view::npos ? "" : number.substr(point + 1));
  digits += part;
  if (digits.empty() || digits.size() > 40 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  // Where the point comes to stand, counted from the front of `digits`.
  int at = static_cast<int>(digits.size() - part.size()) + exponent;
  if (at < 1) {
    digits.insert(0, static_cast<std::size_t>(1 - at), '0');
    at = 1;
  }
  if (static_cast<std::size_t>(at) > digits.size()) {
    digits.append(static_cast<std::size_t>(at) - digits.size(), '0');
  }
  std::string whole = digits.substr(0, static_cast<std::size_t>(at));
  std::string rest = digits.substr(static_cast<std::size_t>(at));
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size() - 1));
  rest.erase(rest.find_last_not_of('0') + 1);
  if (whole.size() > 9 || rest.size() > 9) {
    return std::nullopt;
  }
  return rest.empty() ? whole : fmt::format("{}.{}", whole, rest);
}

// One deployment on its way out.
struct Endpoint {
  std::string name;
  std::string model_name;  // LiteLLM's, which becomes the route
  std::string toml;
  std::string tier;
  std::int64_t order = 0;
  std::int64_t weight = 1;
};

class Importer {
 public:
  explicit Importer(const YamlNode& root) : root_(root) {}

  Result<ImportedConfig> run() {
    if (!root_.is_map()) {
      return fail_param("line 1", "line 1: this is no LiteLLM configuration: no 'model_list'");
    }
    const YamlNode* models = root_.find("model_list");
    if (models == nullptr || !models->is_list() || models->items.empty()) {
      return fail_param("model_list", "the file has no 'model_list' with models in it");
    }
    collect_names(*models);
    for (std::size_t i = 0; i < models->items.size(); ++i) {
      GENESIS_TRY_VOID(read_model(models->items[i], fmt::format("model_list[{}]", i)));
    }
    read_settings();
    if (endpoints_.empty()) {
      return fail_param(
          "model_list", "no model of the file can be reached from here", ErrorCode::kUnsupported);
    }
    return finish();
  }

 private:
  void leave_out(std::size_t line, std::string what) {
    left_out_.push_back({line, std::move(what)});
  }

  // Names of routes are taken before any endpoint gets one.
  void collect_names(const YamlNode& models) {
    for (const YamlNode& item : models.items) {
      taken_.insert(as_name(item.text("model_name")));
    }
    for (const auto& [alias, target] : aliases()) {
      taken_.insert(as_name(alias));
    }
  }

  std::string unique_name(const std::string& wanted) {
    std::string name = wanted;
    for (int n = 2; taken_.contains(name); ++n) {
      name = fmt::format("{}-{}", wanted, n);
    }
    taken_.insert(name);
    return name;
  }

  Result<void> read_model(const YamlNode& item, const std::string& where) {
    const std::string name = item.text("model_name");
    const YamlNode* params = item.find("litellm_params");
    if (name.empty() || params == nullptr || !params->is_map() || params->text("model").empty()) {
      return fail_param(
          where,
          fmt::format("line {}: {} needs a 'model_name' and 'litellm_params' with a 'model'",
                      item.line,
                      where));
    }
    if (name.contains('*') || params->text("model").contains('*')) {
      leave_out(item.line, fmt::format("{}: wildcard model names have no counterpart", where));
      return {};
    }
    const std::string full = params->text("model");
    const std::size_t slash = full.find('/');
    // Without a prefix LiteLLM means OpenAI.
    const std::string prefix = slash == std::string::npos ? "openai" : full.substr(0, slash);
    const std::string model = slash == std::string::npos ? full : full.substr(slash + 1);
    const Provider* provider = find_provider(prefix);
    if (provider == nullptr) {
      leave_out(params->line,
                fmt::format("{}: provider '{}' has no OpenAI-compatible address here; give it as"
                            " an [[endpoint]] by hand if it has one",
                            where,
                            prefix));
      return {};
    }
    write_endpoint({.item = item, .params = *params, .where = where, .model = model}, *provider);
    return {};
  }

  struct Model {
    const YamlNode& item;
    const YamlNode& params;
    std::string where;
    std::string model;
  };

  void write_endpoint(const Model& m, const Provider& provider) {
    const auto url = address(m, provider);
    if (!url) {
      return;
    }
    Endpoint out{.model_name = as_name(m.item.text("model_name"))};
    out.name = unique_name(as_name(fmt::format("{}.{}", provider.prefix, m.model)));
    out.order = integer(m.params.text("order"), 0);
    out.weight = std::clamp<std::int64_t>(integer(m.params.text("weight"), 1), 0, 1'000'000);
    out.tier = tier(*url, provider);
    out.toml = fmt::format("[[endpoint]]\nname = {}\ntier = {}\n{}url = {}\nmodel = {}\n",
                           toml_string(out.name),
                           toml_string(out.tier),
                           provider.prefix == "anthropic" ? "dialect = \"anthropic\"\n" : "",
                           toml_string(*url),
                           toml_string(m.model));
    write_key(m, provider, out);
    write_price(m, provider, out);
    write_timeout(m, out);
    list_rest(m);
    endpoints_.push_back(std::move(out));
  }

  // "os.environ/X" cannot be an address here; what stands in the file can.
  std::optional<std::string> address(const Model& m, const Provider& provider) {
    std::string base = m.params.text("api_base");
    if (base.empty()) {
      base = m.params.text("base_url");
    }
    if (base.starts_with("os.environ/")) {
      leave_out(m.params.line,
                fmt::format("{}: its address is in the environment variable {}; write the"
                            " [[endpoint]] with that address",
                            m.where,
                            base.substr(11)));
      return std::nullopt;
    }
    if (base.empty() && provider.url.empty()) {
      leave_out(m.params.line, fmt::format("{}: no 'api_base' is given", m.where));
      return std::nullopt;
    }
    if (base.empty()) {
      return std::string(provider.url);
    }
    while (base.ends_with('/')) {
      base.pop_back();
    }
    if (provider.prefix == "azure") {
      leave_out(m.params.line,
                fmt::format("{}: reached by Azure's v1 address; 'api_version' is not used there",
                            m.where));
      base += base.ends_with("/openai/v1") ? "" : "/openai/v1";
    } else if (provider.prefix.starts_with("ollama") && !base.ends_with("/v1")) {
      base += "/v1";
    }
    const auto parsed = net::parse_base_url(base);
    if (!parsed || base.contains('@')) {
      leave_out(m.params.line, fmt::format("{}: its 'api_base' is no usable address", m.where));
      return std::nullopt;
    }
    return base;
  }

  // An address of one's own network is a machine of one's own.
  static std::string tier(const std::string& url, const Provider& provider) {
    const std::size_t begin = url.find("://") + 3;
    const std::string host = url.substr(begin, url.find_first_of(":/", begin) - begin);
    const bool own = host == "localhost" || host.starts_with("127.") || host.starts_with("10.") ||
                     host.starts_with("192.168.") || !host.contains('.');
    return own ? "self_hosted" : std::string(provider.tier);
  }

  void write_key(const Model& m, const Provider& provider, Endpoint& out) {
    const YamlNode* key = m.params.find("api_key");
    const std::string text = m.params.text("api_key");
    std::string variable(provider.key_variable);
    if (text.starts_with("os.environ/")) {
      variable = text.substr(11);
    } else if (!text.empty()) {
      const std::string fallback = "GENESIS_KEY_" + std::to_string(endpoints_.size() + 1);
      variable = variable.empty() ? fallback : variable;
      leave_out(key->line,
                fmt::format("{}: its api_key is written out in the file; it was not copied: put it"
                            " into the environment variable {}",
                            m.where,
                            variable));
    } else if (!m.params.text("api_base").empty() && provider.tier == "self_hosted") {
      variable.clear();
    }
    if (!variable.empty()) {
      out.toml += fmt::format("api_key = {{ env = {} }}\n", toml_string(variable));
    }
  }

  // The price of a token, from litellm_params or model_info.
  std::optional<std::string> token_price(const Model& m, std::string_view field) {
    for (const YamlNode* at : {&m.params, m.item.find("model_info")}) {
      const std::string text = at == nullptr ? "" : at->text(field);
      if (text.empty()) {
        continue;
      }
      auto price = per_million(text);
      if (!price) {
        leave_out(at->line, fmt::format("{}: '{}' is no amount", m.where, field));
      }
      return price;
    }
    return std::nullopt;
  }

  void write_price(const Model& m, const Provider& provider, Endpoint& out) {
    const auto input = token_price(m, "input_cost_per_token");
    const auto output = token_price(m, "output_cost_per_token");
    const auto cached = token_price(m, "cache_read_input_token_cost");
    if (input && output) {
      out.toml += fmt::format("price = {{ input = {}, output = {}{} }}\n",
                              toml_string(*input),
                              toml_string(*output),
                              cached ? ", cached_input = " + toml_string(*cached) : "");
      return;
    }
    const YamlNode* info = m.item.find("model_info");
    std::string base = info == nullptr ? "" : info->text("base_model");
    base = base.substr(base.find('/') == std::string::npos ? 0 : base.find('/') + 1);
    if (!base.empty()) {
      out.toml += fmt::format("price_model = {}\n", toml_string(base));
    }
    const std::string priced = base.empty() ? m.model : base;
    const bool listed = ledger::PriceTable::defaults().find(priced, kLatest) != nullptr;
    if (!listed) {
      leave_out(m.params.line,
                fmt::format("{}: no price of '{}' is known; add price = {{ {} }}, or its attempts"
                            " go into quarantine",
                            m.where,
                            priced,
                            provider.tier == "self_hosted" ? "per_hour = \"...\""
                                                           : "input = \"...\", output = \"...\""));
    }
  }

  void write_timeout(const Model& m, Endpoint& out) {
    const auto ms = milliseconds(m.params.text("timeout"));
    if (ms) {
      out.toml += fmt::format("budgets = {{ total_ms = {} }}\n", *ms);
    }
  }

  // Seconds as LiteLLM writes them, whole or with a fraction.
  static std::optional<std::int64_t> milliseconds(std::string_view seconds) {
    const std::size_t point = seconds.find('.');
    std::string digits(seconds.substr(0, point));
    std::string part(point == std::string_view::npos ? "" : seconds.substr(point + 1));
    part.resize(3, '0');
    digits += part;
    std::int64_t ms = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), ms);
    const bool good = !seconds.empty() && end.ec == std::errc() &&
                      end.ptr == digits.data() + digits.size() && ms > 0 && ms <= 86'400'000;
    return good ? std::optional(ms) : std::nullopt;
  }

  static std::int64_t integer(std::string_view text, std::int64_t fallback) {
    std::int64_t value = fallback;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

  void list_rest(const Model& m) {
    static constexpr std::array<std::string_view, 10> kRead = {"model",
                                                               "api_base",
                                                               "base_url",
                                                               "api_key",
                                                               "order",
                                                               "weight",
                                                               "timeout",
                                                               "input_cost_per_token",
                                                               "output_cost_per_token",
                                                               "cache_read_input_token_cost"};
    for (const auto& [key, value] : m.params.members) {
      if (std::ranges::find(kRead, key) == kRead.end()) {
        leave_out(value.line, fmt::format("{}.litellm_params.{}", m.where, as_name(key)));
      }
    }
    for (const auto& [key, value] : m.item.members) {
      if (key != "model_name" && key != "litellm_params" && key != "model_info") {
        leave_out(value.line, fmt::format("{}.{}", m.where, as_name(key)));
      }
    }
  }

  // router_settings first, as LiteLLM does.
  const YamlNode* setting(std::string_view key) const {
    for (const char* section : {"router_settings", "litellm_settings"}) {
      const YamlNode* settings = root_.find(section);
      const YamlNode* found = settings == nullptr ? nullptr : settings->find(key);
      if (found != nullptr) {
        return found;
      }
    }
    return nullptr;
  }

  // alias -> model name; the target may be written as {model: name, hidden: true}.
  std::map<std::string, std::string> aliases() const {
    std::map<std::string, std::string> out;
    const YamlNode* map = setting("model_group_alias");
    if (map == nullptr) {
      return out;
    }
    for (const auto& [alias, target] : map->members) {
      out[alias] = target.is_scalar() ? target.scalar : target.text("model");
    }
    return out;
  }

  void read_settings() {
    if (const YamlNode* fallbacks = setting("fallbacks")) {
      for (const YamlNode& item : fallbacks->items) {
        for (const auto& [model, others] : item.members) {
          add_fallbacks(as_name(model), others);
        }
      }
    }
    if (const YamlNode* fallbacks = setting("default_fallbacks")) {
      for (const YamlNode& other : fallbacks->items) {
        default_fallbacks_.push_back(as_name(other.scalar));
      }
    }
    for (const auto& [section, value] : root_.members) {
      list_section(section, value);
    }
  }

  void add_fallbacks(const std::string& model, const YamlNode& others) {
    for (const YamlNode& other : others.items) {
      fallbacks_[model].push_back(as_name(other.scalar));
    }
    if (others.is_scalar()) {
      fallbacks_[model].push_back(as_name(others.scalar));
    }
  }

  void list_section(const std::string& section, const YamlNode& value) {
    if (section == "model_list") {
      return;
    }
    const bool settings = section == "router_settings" || section == "litellm_settings";
    for (const auto& [key, member] : value.members) {
      if (settings &&
          (key == "fallbacks" || key == "default_fallbacks" || key == "model_group_alias" ||
           key == "request_timeout" || key == "max_budget" || key == "budget_duration")) {
        continue;
      }
      leave_out(member.line,
                fmt::format("{}.{}{}", as_name(section), as_name(key), advice(section, key)));
    }
    if (!value.is_map() && value.kind != YamlNode::Kind::kNull) {
      leave_out(value.line, as_name(section));
    }
  }

  static std::string_view advice(std::string_view section, std::string_view key) {
    if (section == "environment_variables") {
      return ": set it in the environment of genesis serve; its value was not copied";
    }
    if (key == "master_key") {
      return ": genesis key create NAME --admin makes keys; its value was not copied";
    }
    if (key == "database_url") {
      return ": the ledger is a file, or a database of its own; its value was not copied";
    }
    if (key.contains("budget")) {
      return ": budgets belong to keys, teams and agents: genesis budget --help";
    }
    if (key == "routing_strategy") {
      return ": deployments of one name share by weight; see balance in docs/routing.md";
    }
    return "";
  }

  // The endpoints of a model name, in order.
  std::vector<const Endpoint*> endpoints_of(const std::string& model_name) const {
    std::vector<const Endpoint*> found;
    for (const Endpoint& endpoint : endpoints_) {
      if (endpoint.model_name == model_name) {
        found.push_back(&endpoint);
      }
    }
    std::ranges::sort(found, [](const Endpoint* a, const Endpoint* b) {
      return a->order != b->order ? a->order < b->order : a < b;
    });
    return found;
  }

  // LiteLLM spreads requests over the deployments of one name, unless `order` ranks them.
  static std::string weights_toml(const std::vector<const Endpoint*>& own) {
    const bool ranked = std::ranges::any_of(own, [](const Endpoint* e) { return e->order != 0; });
    if (own.size() < 2 || ranked) {
      return "";
    }
    std::string out;
    for (const Endpoint* endpoint : own) {
      out += fmt::format(
          "{}{} = {}", out.empty() ? "" : ", ", toml_string(endpoint->name), endpoint->weight);
    }
    return out;
  }

  std::string route_toml(const std::string& model_name) const {
    const std::vector<const Endpoint*> deployments = endpoints_of(model_name);
    std::vector<std::string> endpoints;
    for (const Endpoint* endpoint : deployments) {
      endpoints.push_back(endpoint->name);
    }
    std::string weights = weights_toml(deployments);
    const auto own = fallbacks_.find(model_name);
    for (const std::string& other : own != fallbacks_.end() ? own->second : default_fallbacks_) {
      for (const Endpoint* endpoint : endpoints_of(other)) {
        if (std::ranges::find(endpoints, endpoint->name) == endpoints.end()) {
          endpoints.push_back(endpoint->name);
          weights += weights.empty() ? "" : fmt::format(", {} = 0", toml_string(endpoint->name));
        }
      }
    }
    std::vector<std::string> names;
    for (const auto& [alias, target] : aliases()) {
      if (as_name(target) == model_name && as_name(alias) != model_name) {
        names.push_back(as_name(alias));
      }
    }
    std::string out = fmt::format(
        "[[route]]\nname = {}\nendpoints = {}\n", toml_string(model_name), toml_list(endpoints));
    out += names.empty() ? "" : fmt::format("aliases = {}\n", toml_list(names));
    return out + (weights.empty() ? "" : fmt::format("weights = {{ {} }}\n", weights));
  }

  // A cap that LiteLLM does not know must not refuse what it let through.
  std::string commercial_toml() const {
    const bool mixed = std::ranges::any_of(
        endpoints_, [](const Endpoint& endpoint) { return endpoint.tier != "commercial"; });
    return mixed
               ? "\n[commercial]\nmax_share = \"100%\"  # the default is 1%: set it once the other"
                 " tiers carry the traffic\n"
               : "";
  }

  // litellm_settings.max_budget is everybody's together.
  std::string budget_toml() {
    const YamlNode* budget = setting("max_budget");
    if (budget == nullptr) {
      return "";
    }
    const YamlNode* duration = setting("budget_duration");
    const std::string per = duration == nullptr ? "" : duration->scalar;
    static const std::map<std::string, std::string_view, std::less<>> kWindows = {{"", "total"},
                                                                                  {"1d", "day"},
                                                                                  {"24h", "day"},
                                                                                  {"7d", "week"},
                                                                                  {"30d", "month"},
                                                                                  {"1mo", "month"}};
    const auto window = kWindows.find(per);
    const auto usd = ledger::parse_usd(budget->scalar);
    if (window == kWindows.end() || !usd || *usd == 0) {
      leave_out(budget->line, "litellm_settings.max_budget: set it with genesis budget set");
      return "";
    }
    return fmt::format("\n[[budget]]\nusd = {}\nper = {}\n",
                       toml_string(format_usd(*usd)),
                       toml_string(window->second));
  }

  Result<ImportedConfig> finish() {
    ImportedConfig out;
    std::string text = "# Made from a LiteLLM configuration by genesis import litellm.\n";
    std::vector<std::string> routes;
    for (const Endpoint& endpoint : endpoints_) {
      if (std::ranges::find(routes, endpoint.model_name) == routes.end()) {
        routes.push_back(endpoint.model_name);
      }
    }
    text += fmt::format("[routing]\ndefault_route = {}\n", toml_string(routes.front()));
    const YamlNode* timeout = setting("request_timeout");
    if (const auto ms = milliseconds(timeout == nullptr ? "" : timeout->scalar)) {
      text += fmt::format("\n[budgets]\ntotal_ms = {}\n", *ms);
    }
    text += commercial_toml() + budget_toml();
    for (const Endpoint& endpoint : endpoints_) {
      text += "\n" + endpoint.toml;
    }
    for (const std::string& route : routes) {
      text += "\n" + route_toml(route);
    }
    std::ranges::sort(left_out_, [](const ImportNote& a, const ImportNote& b) {
      return a.line != b.line ? a.line < b.line : a.what < b.what;
    });
    if (!left_out_.empty()) {
      text += "\n# Not carried over:\n";
      for (const ImportNote& note : left_out_) {
        text += fmt::format("#   line {}: {}\n", note.line, one_line(note.what));
      }
    }
    out.toml = std::move(text);
    out.endpoints = endpoints_.size();
    out.routes = routes.size();
    out.left_out = std::move(left_out_);
    return out;
  }

  // A comment must not end early, whatever a name holds.
  static std::string one_line(std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return text;
  }

  // Any day after every price of the snapshot has begun.
  static constexpr std::int64_t kLatest = 4'102'444'800'000;  // 2100-01-01

  const YamlNode& root_;
  std::set<std::string> taken_;
  std::vector<Endpoint> endpoints_;
  std::map<std::string, std::vector<std::string>> fallbacks_;
  std::vector<std::string> default_fallbacks_;
  std::vector<ImportNote> left_out_;
};

}  // namespace

Result<ImportedConfig> import_litellm(std::string_view yaml) {
  GENESIS_TRY(const YamlNode root, parse_yaml(yaml));
  return Importer(root).run();
}

}  // namespace genesis::app
