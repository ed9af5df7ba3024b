// config, doctor, completion, version, help: verbs that look at the installation only.
#include "app/diagnosis.h"
#include "base/json.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/model_store.h"
#include "kernel/cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace genesis::cli {

namespace {

std::vector<app::Finding> examine(const app::Home& home, const Result<app::Config>& config) {
  std::vector<app::Finding> findings;
  utsname system{};
  ::uname(&system);
  findings.push_back(
      {"system", true, fmt::format("{} {} {}", system.sysname, system.release, system.machine)});
  findings.push_back({"cpu",
                      true,
                      fmt::format("{} threads, kernels for {}",
                                  std::thread::hardware_concurrency(),
                                  kernel::tier_name(kernel::best_tier()))});
  const std::int64_t memory =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  findings.push_back({"memory", memory > 1'000'000'000, format_bytes(memory)});
  std::error_code error;
  const auto space = std::filesystem::space(home.models, error);
  findings.push_back({"disk",
                      !error && space.available > 500'000'000,
                      fmt::format("{} free for models in {}",
                                  format_bytes(static_cast<std::int64_t>(space.available)),
                                  home.models.string())});
  findings.push_back(
      {"config",
       config.has_value(),
       config ? home.config_file.string() +
                    (std::filesystem::exists(home.config_file, error) ? "" : " (absent: defaults)")
              : config.error().message});
  const auto models = hub::ModelStore(home.models).list();
  const std::size_t count = models ? models->size() : 0;
  findings.push_back(
      {"models",
       count > 0,
       count > 0 ? fmt::format("{} pulled", count) : "none pulled; next: genesis pull smollm2"});
  if (config) {
    std::ranges::move(app::diagnose(home, *config), std::back_inserter(findings));
  }
  return findings;
}

constexpr std::string_view kVerbs =
    "serve reload run chat pull ls ps show rm key budget savings ledger import explain drill "
    "config doctor "
    "completion "
    "version "
    "engine "
    "help";

std::string completion_script(const std::string& shell) {
  if (shell == "bash") {
    return fmt::format(R"sh(# bash completion for genesis: source <(genesis completion bash)
_genesis() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{} --help --version --config" -- "$word"))
    return
  fi
  case "$verb" in
    show|rm) COMPREPLY=($(compgen -W "$(genesis ls -q 2>/dev/null)" -- "$word")) ;;
    key) COMPREPLY=($(compgen -W "create ls rm" -- "$word")) ;;
    ledger) COMPREPLY=($(compgen -W "verify ls export pubkey" -- "$word")) ;;
    savings) COMPREPLY=($(compgen -W "verify" -- "$word")) ;;
    import) COMPREPLY=($(compgen -W "litellm usage" -- "$word")) ;;
    config) COMPREPLY=($(compgen -W "show check" -- "$word")) ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")) ;;
    help) COMPREPLY=($(compgen -W "exit-codes environment" -- "$word")) ;;
    *) COMPREPLY=($(compgen -W "--help --json" -- "$word")) ;;
  esac
}}
complete -o default -F _genesis genesis
)sh",
                       kVerbs);
  }
  if (shell == "zsh") {
    return fmt::format(R"sh(#compdef genesis
# zsh completion for genesis: genesis completion zsh > "${{fpath[1]}}/_genesis"
_genesis() {{
  if (( CURRENT == 2 )); then
    compadd {0} --help --version --config
    return
  fi
  case "$words[2]" in
    show|rm) compadd -- ${{(f)"$(genesis ls -q 2>/dev/null)"}} ;;
    key) compadd create ls rm ;;
    ledger) compadd verify ls export pubkey ;;
    savings) compadd verify ;;
    import) compadd litellm usage ;;
    config) compadd show check ;;
    completion) compadd bash zsh fish ;;
    help) compadd exit-codes environment ;;
    *) compadd -- --help --json ;;
  esac
}}
# Found by name in fpath, the file is the function's first call; sourced, it only declares it.
if [[ "$funcstack[1]" == "_genesis" ]]; then _genesis "$@"; else compdef _genesis genesis; fi
)sh",
                       kVerbs);
  }
  return fmt::format(R"sh(# fish completion for genesis
complete -c genesis -f
complete -c genesis -n "__fish_seen_subcommand_from pull engine" -F
complete -c genesis -n __fish_use_subcommand -a "{}"
complete -c genesis -n "__fish_seen_subcommand_from show rm" -a "(genesis ls -q 2>/dev/null)"
complete -c genesis -n "__fish_seen_subcommand_from key" -a "create ls rm"
complete -c genesis -n "__fish_seen_subcommand_from ledger" -a "verify ls export pubkey"
complete -c genesis -n "__fish_seen_subcommand_from savings" -a "verify"
complete -c genesis -n "__fish_seen_subcommand_from import" -a "litellm usage"
complete -c genesis -n "__fish_seen_subcommand_from config" -a "show check"
complete -c genesis -n "__fish_seen_subcommand_from completion" -a "bash zsh fish"
complete -c genesis -n "__fish_seen_subcommand_from help" -a "exit-codes environment"
)sh",
                     kVerbs);
}

constexpr std::string_view kEnvironmentHelp = R"(Environment variables:
  GENESIS_HOME        one folder for all state (models, ledger, keys, sockets)
  GENESIS_CONFIG      configuration file; overrides the default place
  GENESIS_HOST        address:port to listen on; overrides server.listen
  GENESIS_LOG         debug, info, warn, error or off
  GENESIS_LOG_FORMAT  text or json
  GENESIS_API_KEY     key that run, chat and other clients of a running server send
  HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE   as the Hugging Face tools know them
  PIP_INDEX_URL       package index for pypi: sources
  NO_COLOR            no colours
)";

}  // namespace

Result<app::Home> open_home(const CommonOptions& common) {
  GENESIS_TRY(app::Home home, app::open_home());
  if (!common.config_file.empty()) {
    home.config_file = common.config_file;
    home.config_file_required = true;
  }
  return home;
}

Result<app::Config> open_config(const CommonOptions& common, const app::Home& home) {
  GENESIS_TRY(app::Config config, app::load_config(home, common.overrides));
  log_configure(config.log_level, config.log_format);
  return config;
}

int config_show(const CommonOptions& common, bool origin) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto config = open_config(common, *home);
  if (!config) {
    return report(config.error());
  }
  if (common.json) {
    JsonWriter writer;
    app::write_options(writer, config->origins);
    print_out(writer.take() + "\n");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : config->origins) {
    if (!key.ends_with(".")) {
      rows.push_back(origin ? std::vector{key, app::shown_value(value), value.origin}
                            : std::vector{key, app::shown_value(value)});
    }
  }
  print_out(format_table(origin ? std::vector<std::string>{"KEY", "VALUE", "ORIGIN"}
                                : std::vector<std::string>{"KEY", "VALUE"},
                         rows));
  return kExitOk;
}

int config_check(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto config = open_config(common, *home);
  const auto checked = config ? app::check_settings(*config) : std::unexpected(config.error());
  if (!checked) {
    if (common.json) {
      JsonWriter writer;
      writer.begin_object();
      writer.field_bool("ok", false);
      writer.field("key", checked.error().param);
      writer.field("message", checked.error().message);
      writer.end_object();
      print_out(writer.take() + "\n");
    }
    return report(checked.error());
  }
  if (common.json) {
    print_out("{\"ok\":true}\n");
  } else {
    print_out(fmt::format("{}: ok, {} endpoint(s), {} route(s)\n",
                          home->config_file.string(),
                          config->endpoints.size(),
                          config->routes.size()));
  }
  return kExitOk;
}

int doctor(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const std::vector<app::Finding> findings = examine(*home, open_config(common, *home));
  bool all_ok = true;
  JsonWriter writer;
  writer.begin_array();
  std::vector<std::vector<std::string>> rows;
  for (const app::Finding& finding : findings) {
    all_ok = all_ok && finding.ok;
    rows.push_back({finding.ok ? "ok" : "look", finding.name, finding.detail});
    writer.begin_object();
    writer.field("check", finding.name);
    writer.field_bool("ok", finding.ok);
    writer.field("detail", finding.detail);
    writer.end_object();
  }
  writer.end_array();
  print_out(common.json ? writer.take() + "\n" : format_table({"STATE", "CHECK", "DETAIL"}, rows));
  return all_ok ? kExitOk : kExitFailure;
}

int completion(const std::string& shell) {
  print_out(completion_script(shell));
  return kExitOk;
}

int version(const CommonOptions& common) {
  if (common.json) {
    JsonWriter writer;
    writer.begin_object();
    writer.field("version", GENESIS_VERSION);
    writer.field("isa", kernel::tier_name(kernel::best_tier()));
    writer.end_object();
    print_out(writer.take() + "\n");
  } else {
    print_out(fmt::format("genesis {}\n", GENESIS_VERSION));
  }
  return kExitOk;
}

int help_topic(const std::string& topic) {
  if (topic == "environment") {
    print_out(kEnvironmentHelp);
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const ExitCode& entry : exit_codes()) {
    rows.push_back({std::to_string(entry.code), std::string(entry.meaning)});
  }
  print_out(format_table({"CODE", "MEANING"}, rows));
  return kExitOk;
}

}  // namespace genesis::cli
