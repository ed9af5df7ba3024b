// key, ledger: verbs about keys and rows. They work beside a running gateway.
#include "app/key_access.h"
#include "app/ledger_place.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/books.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "ledger/budget.h"
#include "ledger/rows.h"
#include "ledger/verify.h"
#include "store/database.h"

#include <fmt/format.h>

namespace genesis::cli {

Result<Books> open_books(const CommonOptions& common, store::OpenMode mode) {
  Books books;
  GENESIS_TRY(books.home, open_home(common));
  GENESIS_TRY(books.config, open_config(common, books.home));
  if (mode == store::OpenMode::kReadOnly) {
    GENESIS_TRY_VOID(app::require_ledger(books.config));
  }
  GENESIS_TRY(auto place, app::ledger_place(books.config, books.home, mode));
  GENESIS_TRY(books.database, store::Database::open(std::move(place)));
  return books;
}

Result<std::int64_t> since_or_start(const std::string& since) {
  return since.empty() ? Result<std::int64_t>(0) : parse_since(since, SystemClock().unix_ms());
}

namespace {

void write_key(JsonWriter& writer, const ledger::ApiKey& key) {
  writer.field("id", key.id);
  writer.field("name", key.name);
  writer.field("tenant", key.tenant);
  writer.field("team", key.team);
  writer.field_bool("admin", key.admin);
  writer.key("models");
  writer.begin_array();
  for (const std::string& model : key.models) {
    writer.string(model);
  }
  writer.end_array();
  writer.field("created", format_rfc3339(key.created_ms));
  writer.field_bool("revoked", key.revoked_ms != 0);
  if (key.expires_ms != 0) {
    writer.field("expires", format_rfc3339(key.expires_ms));
  } else {
    writer.field_null("expires");
  }
  writer.field("requests_per_minute", key.limits.requests_per_minute);
  writer.field("tokens_per_minute", key.limits.tokens_per_minute);
  writer.field("parallel", key.limits.parallel);
}

std::string key_state(const ledger::ApiKey& key) {
  if (key.revoked_ms != 0) {
    return "revoked";
  }
  return key.expires_ms != 0 && key.expires_ms <= SystemClock().unix_ms() ? "expired" : "valid";
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += out.empty() ? word : "," + word;
  }
  return out.empty() ? "all" : out;
}

Result<std::chrono::seconds> parse_lifetime(const std::string& text) {
  const auto start = parse_since(text, 0);
  // A date would be a point in time; only a length counts back from zero to below it.
  if (!start || *start >= 0) {
    return fail_param("--expires", fmt::format("cannot read '{}'; use 30d, 12h or 45m", text));
  }
  return std::chrono::seconds(-*start / 1000);
}

Result<ledger::CreatedKey> create_key(const CommonOptions& common,
                                      const KeyCreateOptions& options) {
  ledger::NewKey wanted{.name = options.name,
                        .tenant = options.tenant,
                        .team = options.team,
                        .admin = options.admin,
                        .models = options.models,
                        .limits = {.requests_per_minute = options.requests_per_minute,
                                   .tokens_per_minute = options.tokens_per_minute,
                                   .parallel = options.parallel},
                        .budgets = {}};
  for (const std::string& text : options.budgets) {
    GENESIS_TRY(ledger::Budget budget, ledger::parse_budget_amount(text));
    wanted.budgets.push_back(std::move(budget));
  }
  if (!options.expires.empty()) {
    GENESIS_TRY(wanted.lifetime, parse_lifetime(options.expires));
  }
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kOwnerOrGuest));
  const SystemClock clock;
  GENESIS_TRY(const auto keys, app::open_keys(*books.database, clock, books.home));
  return keys->create(wanted);
}

// A listing of what is not there yet is an empty one.
template <typename T>
Result<std::vector<T>> none_if_missing(Result<std::vector<T>> rows) {
  const bool missing = !rows && rows.error().code == ErrorCode::kNotFound;
  return missing ? Result<std::vector<T>>(std::vector<T>{}) : std::move(rows);
}

Result<std::vector<ledger::ApiKey>> read_keys(const CommonOptions& common) {
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kReadOnly));
  const SystemClock clock;
  GENESIS_TRY(const auto keys, app::open_keys(*books.database, clock, books.home));
  return keys->list();
}

Result<void> revoke_key(const CommonOptions& common, const std::string& id) {
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kOwnerOrGuest));
  const SystemClock clock;
  GENESIS_TRY(const auto keys, app::open_keys(*books.database, clock, books.home));
  return keys->revoke(id);
}

Result<std::vector<ledger::LedgerRow>> read_rows(const CommonOptions& common,
                                                 const RowOptions& options) {
  GENESIS_TRY(const std::int64_t since_ms, since_or_start(options.since));
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kReadOnly));
  return ledger::list_rows(
      *books.database,
      {.since_ms = since_ms, .limit = options.limit, .disputed = options.disputed});
}

Result<ledger::VerifyReport> verify_books(const CommonOptions& common) {
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const app::Config config, open_config(common, home));
  GENESIS_TRY_VOID(app::require_ledger(config));
  GENESIS_TRY(auto place, app::ledger_place(config, home, store::OpenMode::kReadOnly));
  return ledger::verify(std::move(place));
}

Result<ledger::Budget> wanted_budget(const BudgetSetOptions& options) {
  GENESIS_TRY(ledger::Budget budget, ledger::parse_budget_amount(options.amount));
  const std::pair<ledger::BudgetScope, const std::string*> subjects[] = {
      {ledger::BudgetScope::kTeam, &options.team},
      {ledger::BudgetScope::kKey, &options.key},
      {ledger::BudgetScope::kAgent, &options.agent}};
  for (const auto& [scope, subject] : subjects) {
    if (!subject->empty()) {
      budget.scope = scope;
      budget.subject = *subject;
    }
  }
  budget.origin = "command";
  return budget;
}

Result<std::string> set_budget(const CommonOptions& common, const BudgetSetOptions& options) {
  GENESIS_TRY(const ledger::Budget budget, wanted_budget(options));
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kOwnerOrGuest));
  GENESIS_TRY_VOID(books.database->write_blocking([&](store::Transaction& tx) {
    return ledger::set_budget(tx, budget, SystemClock().unix_ms());
  }));
  return budget.id();
}

Result<void> remove_budget(const CommonOptions& common, const std::string& id) {
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kOwnerOrGuest));
  return books.database->write_blocking(
      [&](store::Transaction& tx) { return ledger::remove_budget(tx, id); });
}

Result<std::vector<ledger::BudgetState>> read_budgets(const CommonOptions& common) {
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kReadOnly));
  std::vector<ledger::BudgetState> states;
  GENESIS_TRY_VOID(books.database->read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(states, ledger::list_budgets(tx, SystemClock().unix_ms()));
    return {};
  }));
  return states;
}

void write_budget(JsonWriter& writer, const ledger::BudgetState& state) {
  writer.begin_object();
  writer.field("id", state.budget.id());
  writer.field("scope", ledger::scope_name(state.budget.scope));
  writer.field("subject", state.budget.subject);
  writer.field("per", ledger::window_name(state.budget.per));
  writer.field("limit_nano", state.budget.limit);
  writer.field("spent_nano", state.sums.spent);
  writer.field("held_nano", state.sums.held);
  writer.field("left_nano", state.left());
  writer.field("window_start", format_rfc3339(state.window_ms));
  if (state.resets_ms == INT64_MAX) {
    writer.field_null("resets");
  } else {
    writer.field("resets", format_rfc3339(state.resets_ms));
  }
  writer.field("origin", state.budget.origin);
  writer.end_object();
}

// Overdrawn shows with its sign.
std::string signed_usd(NanoUsd amount) {
  return amount < 0 ? "-" + format_usd(-amount) : format_usd(amount);
}

}  // namespace

int key_create(const CommonOptions& common, const KeyCreateOptions& options) {
  const auto created = create_key(common, options);
  if (!created) {
    return report(created.error());
  }
  if (common.json) {
    JsonWriter writer;
    writer.begin_object();
    write_key(writer, created->key);
    writer.field("key", created->token);
    writer.end_object();
    print_out(writer.take() + "\n");
  } else {
    print_note("This is shown once; only its hash is stored.");
    print_out(created->token + "\n");
  }
  return kExitOk;
}

int key_list(const CommonOptions& common) {
  const auto keys = none_if_missing(read_keys(common));
  if (!keys) {
    return report(keys.error());
  }
  JsonWriter writer;
  writer.begin_array();
  std::vector<std::vector<std::string>> rows;
  for (const ledger::ApiKey& key : *keys) {
    writer.begin_object();
    write_key(writer, key);
    writer.end_object();
    rows.push_back({key.id,
                    key.name,
                    key.tenant,
                    key.team.empty() ? "-" : key.team,
                    key.admin ? "admin" : "inference",
                    joined(key.models),
                    key_state(key)});
  }
  writer.end_array();
  print_out(common.json
                ? writer.take() + "\n"
                : format_table({"ID", "NAME", "TENANT", "TEAM", "ROLE", "MODELS", "STATE"}, rows));
  return kExitOk;
}

int key_revoke(const CommonOptions& common, const std::string& id) {
  const auto revoked = revoke_key(common, id);
  if (!revoked) {
    return report(revoked.error());
  }
  print_out(common.json ? "{\"revoked\":true}\n" : fmt::format("revoked {}\n", id));
  return kExitOk;
}

int budget_set(const CommonOptions& common, const BudgetSetOptions& options) {
  const auto id = set_budget(common, options);
  if (!id) {
    return report(id.error());
  }
  if (common.json) {
    JsonWriter writer;
    writer.begin_object();
    writer.field("id", *id);
    writer.end_object();
    print_out(writer.take() + "\n");
  } else {
    print_out(fmt::format("set {}\n", *id));
  }
  return kExitOk;
}

int budget_remove(const CommonOptions& common, const std::string& id) {
  const auto removed = remove_budget(common, id);
  if (!removed) {
    return report(removed.error());
  }
  print_out(common.json ? "{\"removed\":true}\n" : fmt::format("removed {}\n", id));
  return kExitOk;
}

int budget_list(const CommonOptions& common) {
  const auto budgets = none_if_missing(read_budgets(common));
  if (!budgets) {
    return report(budgets.error());
  }
  JsonWriter writer;
  writer.begin_array();
  std::vector<std::vector<std::string>> rows;
  for (const ledger::BudgetState& state : *budgets) {
    write_budget(writer, state);
    rows.push_back({state.budget.id(),
                    format_usd(state.budget.limit),
                    format_usd(state.sums.spent),
                    format_usd(state.sums.held),
                    signed_usd(state.left()),
                    state.resets_ms == INT64_MAX ? "never" : format_rfc3339(state.resets_ms),
                    state.budget.origin});
  }
  writer.end_array();
  print_out(
      common.json
          ? writer.take() + "\n"
          : format_table({"BUDGET", "USD", "SPENT", "HELD", "LEFT", "RESETS", "SET BY"}, rows));
  return kExitOk;
}

int ledger_verify(const CommonOptions& common) {
  const auto verified = verify_books(common);
  if (!verified) {
    if (common.json) {
      JsonWriter writer;
      writer.begin_object();
      writer.field_bool("ok", false);
      writer.field("where", verified.error().param);
      writer.field("message", verified.error().message);
      writer.end_object();
      print_out(writer.take() + "\n");
    }
    return report(verified.error());
  }
  std::string text = common.json ? ledger::verify_json(*verified) : ledger::verify_text(*verified);
  print_out(text.ends_with('\n') ? text : text + "\n");
  return kExitOk;
}

int ledger_list(const CommonOptions& common, const RowOptions& options) {
  const auto rows = none_if_missing(read_rows(common, options));
  if (!rows) {
    return report(rows.error());
  }
  if (common.json) {
    std::string out = "[";
    for (const ledger::LedgerRow& row : *rows) {
      out += (out.size() > 1 ? ",\n " : "") + ledger::row_json(row);
    }
    print_out(out + "]\n");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> table;
  for (const ledger::LedgerRow& row : *rows) {
    table.push_back(
        {std::to_string(row.seq),
         format_rfc3339(row.unix_ms),
         row.kind,
         row.request_id.empty() ? "-" : fmt::format("{}/{}", row.request_id, row.attempt),
         row.endpoint,
         std::to_string(row.usage.input),
         std::to_string(row.usage.output),
         row.amount ? format_usd(*row.amount) : "?",
         row.finish});
  }
  print_out(format_table(
      {"SEQ", "TIME", "KIND", "ATTEMPT", "ENDPOINT", "IN", "OUT", "USD", "FINISH"}, table));
  return kExitOk;
}

}  // namespace genesis::cli
