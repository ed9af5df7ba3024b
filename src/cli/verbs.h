// The verbs as plain functions: parsed options in, exit code out. main.cpp is the only file that
// knows how the command line is parsed.
#pragma once

#include "app/config.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace genesis::cli {

// What every verb may be given.
struct CommonOptions {
  std::string config_file;                     // --config
  std::vector<app::OptionOverride> overrides;  // flags that set options
  bool json = false;
  bool quiet = false;
};

struct ServeOptions {
  std::string model;  // --model: serve this one instead of the configured endpoints
};

struct AskOptions {
  std::string model;
  std::string prompt;  // empty = standard input
  std::string system;
  int max_tokens = 0;  // 0 = the default
  double temperature = 0;
  std::optional<std::uint64_t> seed;
};

struct PullOptions {
  std::string source;
  std::string name;
  bool dry_run = false;
};

struct ConvertOptions {
  std::string source;  // a model folder, a safetensors file or a pulled model's name
  std::string format;
  std::string output;
  int threads = 0;
  bool force = false;
  bool dry_run = false;
};

struct KeyCreateOptions {
  std::string name;
  std::string tenant = "default";
  std::string team;
  bool admin = false;
  std::vector<std::string> models;
  std::vector<std::string> budgets;  // "5.00/day"
  int requests_per_minute = 0;
  int tokens_per_minute = 0;
  int parallel = 0;
  std::string expires;  // "30d"
};

struct BudgetSetOptions {
  std::string amount;  // "10.00/month"
  std::string team;
  std::string key;
  std::string agent;
};

struct RowOptions {
  std::string since;
  int limit = 0;  // 0 = all
  bool disputed = false;
};

struct SavingsOptions {
  std::string since;
  std::string by;           // a column to group by, empty = none
  std::string csv_file;     // "-" = standard output
  std::string signed_file;  // the same
};

struct SavingsVerifyOptions {
  std::string file;
  std::string ledger;       // recompute from this file
  bool own_ledger = false;  // or from the configured one; neither: the signature only
  std::string public_key;   // who must have signed; empty = say who did
};

struct ImportOptions {
  std::string file;
  std::string output = "-";
  std::vector<std::string> price_models;  // "NAME=KNOWN"
  int cheap_percent = 50;                 // the mission: half of all tasks
  int commercial_percent = 1;
};

struct LedgerExportOptions {
  std::string since;
  std::string csv_file = "-";
};

struct DrillVerbOptions {
  int seconds = 60;
  int rate = 20;
  std::string route;
  double require = 0;  // percent of requests that must be delivered; 0 = whatever comes
  bool dry_run = false;
};

struct EngineOptions {
  std::string model;  // a file or a pulled model's name
  std::string draft;  // the same of the draft model; empty = none
  std::string name;
  std::string listen;
  std::string precision = "quantized";
  std::string isa;
  int threads = 0;
  int kv_mib = 512;
  std::string kv = "int8";
  int max_context = 0;
  int max_batch = 64;
  int max_queue = 256;
  bool prefix_cache = true;
  bool speculation = true;
  int step_target_ms = 50;
  std::vector<std::string> adapters;  // NAME=FOLDER
  bool supervised = false;
  bool weights_cache = true;
  bool force = false;
};

int serve(const CommonOptions& common, const ServeOptions& options);
int reload(const CommonOptions& common);
int engine(const CommonOptions& common, const EngineOptions& options);
int run(const CommonOptions& common, const AskOptions& options);
int chat(const CommonOptions& common, const AskOptions& options);

int pull(const CommonOptions& common, const PullOptions& options);
int list_models(const CommonOptions& common);
int show_model(const CommonOptions& common, const std::string& name);
int remove_model(const CommonOptions& common, const std::string& name);
int convert(const CommonOptions& common, const ConvertOptions& options);
// What a weights file's header says, whether or not the file is whole.
int show_file(const CommonOptions& common, const std::string& path);
int list_cache(const CommonOptions& common);
int clear_cache(const CommonOptions& common);
int list_running(const CommonOptions& common);

int key_create(const CommonOptions& common, const KeyCreateOptions& options);
int key_list(const CommonOptions& common);
int key_revoke(const CommonOptions& common, const std::string& id);

int savings(const CommonOptions& common, const SavingsOptions& options);
int savings_verify(const CommonOptions& common, const SavingsVerifyOptions& options);
int ledger_pubkey(const CommonOptions& common);
int ledger_export(const CommonOptions& common, const LedgerExportOptions& options);
int import_litellm(const CommonOptions& common, const ImportOptions& options);
int import_usage(const CommonOptions& common, const ImportOptions& options);
int ledger_verify(const CommonOptions& common);
int ledger_list(const CommonOptions& common, const RowOptions& options);

int budget_set(const CommonOptions& common, const BudgetSetOptions& options);
int budget_list(const CommonOptions& common);
int budget_remove(const CommonOptions& common, const std::string& id);

// `id` empty: the newest request.
int explain(const CommonOptions& common, const std::string& id);
int drill(const CommonOptions& common, const DrillVerbOptions& options);

int config_show(const CommonOptions& common, bool origin);
int config_check(const CommonOptions& common);
int doctor(const CommonOptions& common);
int completion(const std::string& shell);
int version(const CommonOptions& common);
int help_topic(const std::string& topic);

// Home and configuration as the common options ask; the home comes with --config applied.
Result<app::Home> open_home(const CommonOptions& common);
Result<app::Config> open_config(const CommonOptions& common, const app::Home& home);

}  // namespace genesis::cli
