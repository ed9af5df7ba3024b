// explain: why a request went where it went.
#include "app/explain.h"
#include "app/trace_store.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "ledger/schema.h"
#include "store/database.h"
#include "store/file_check.h"

namespace genesis::cli {

namespace {

Result<std::string> explained(const CommonOptions& common, const std::string& id) {
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const app::Config config, open_config(common, home));
  GENESIS_TRY_VOID(store::require_database(config.ledger_path));
  GENESIS_TRY(const auto database,
              store::Database::open({.path = config.ledger_path,
                                     .mode = store::OpenMode::kReadOnly,
                                     .schemas = {ledger::schema(), app::trace_schema()}}));
  GENESIS_TRY(std::string json, app::explain_json(*database, id));
  if (common.json) {
    return json + "\n";
  }
  return app::explain_text(json);
}

}  // namespace

int explain(const CommonOptions& common, const std::string& id) {
  const auto text = explained(common, id);
  if (!text) {
    return report(text.error());
  }
  print_out(common.json ? *text : without_controls(*text));
  return kExitOk;
}

}  // namespace genesis::cli
