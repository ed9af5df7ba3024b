// savings, savings verify, ledger pubkey, ledger export: proof of what was saved.
#include "app/ledger_place.h"
#include "base/clock.h"
#include "base/ed25519.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/books.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "ledger/evidence.h"
#include "ledger/rows.h"
#include "ledger/savings.h"
#include "ledger/schema.h"
#include "ledger/verify.h"
#include "store/file_check.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

namespace genesis::cli {

namespace {

std::filesystem::path key_file(const app::Home& home) {
  return home.data / "report_key.pem";
}

// "-" prints.
Result<void> write_out(const std::string& file, const std::string& content) {
  if (file == "-") {
    print_out(content);
    return {};
  }
  GENESIS_TRY_VOID(write_file_atomic(file, content));
  print_note(fmt::format("written to {}", file));
  return {};
}

Result<std::string> evidence_of(const Books& books, const ledger::Savings& savings) {
  GENESIS_TRY(const SigningKey key, SigningKey::open(key_file(books.home)));
  return ledger::make_evidence(
      savings,
      key,
      {.tool = std::string("genesis ") + GENESIS_VERSION, .made_ms = SystemClock().unix_ms()});
}

Result<void> show_savings(const CommonOptions& common, const SavingsOptions& options) {
  GENESIS_TRY(const std::int64_t since_ms, since_or_start(options.since));
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kReadOnly));
  GENESIS_TRY(const ledger::Savings savings,
              ledger::compute_savings(
                  *books.database,
                  {.since_ms = since_ms,
                   .until_ms = SystemClock().unix_ms() + 1,
                   .by = ledger::group_by_from_name(options.by).value_or(ledger::GroupBy::kNothing),
                   .tokens = books.config.baseline_tokens}));
  if (!options.csv_file.empty()) {
    GENESIS_TRY_VOID(write_out(options.csv_file, ledger::savings_csv(savings)));
  }
  if (!options.signed_file.empty()) {
    GENESIS_TRY(const std::string evidence, evidence_of(books, savings));
    GENESIS_TRY_VOID(write_out(options.signed_file, evidence));
  }
  if (options.csv_file.empty() && options.signed_file.empty()) {
    print_out(common.json ? ledger::savings_json(savings) + "\n" : ledger::savings_text(savings));
  }
  return {};
}

// Whether the signer is somebody that this installation knows.
Result<std::string> judge_signer(const CommonOptions& common,
                                 const ledger::Evidence& evidence,
                                 const std::string& expected) {
  if (!expected.empty()) {
    GENESIS_TRY(const PublicKey key, parse_public_key(expected));
    if (key != evidence.signer) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("the report is signed by {}, not by {}",
                              format_public_key(evidence.signer),
                              expected));
    }
    return "the key that was given";
  }
  GENESIS_TRY(const app::Home home, open_home(common));
  std::error_code ignored;
  if (std::filesystem::exists(key_file(home), ignored)) {
    GENESIS_TRY(const SigningKey own, SigningKey::open(key_file(home)));
    if (own.public_key() == evidence.signer) {
      return "this installation's key";
    }
  }
  return "a key not known here: compare it with `genesis ledger pubkey` of its maker";
}

struct Checked {
  ledger::Evidence evidence;
  std::string signer;
  std::optional<ledger::VerifyReport> ledger;
};

// The file that was named, or the ledger of this installation.
Result<store::DatabaseOptions> ledger_to_check(const CommonOptions& common,
                                               const SavingsVerifyOptions& options) {
  if (!options.ledger.empty()) {
    GENESIS_TRY_VOID(store::require_database(options.ledger));
    return store::DatabaseOptions{
        .path = options.ledger, .mode = store::OpenMode::kReadOnly, .schemas = {ledger::schema()}};
  }
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const app::Config config, open_config(common, home));
  GENESIS_TRY_VOID(app::require_ledger(config));
  return app::ledger_place(config, home, store::OpenMode::kReadOnly);
}

Result<Checked> check_evidence(const CommonOptions& common, const SavingsVerifyOptions& options) {
  GENESIS_TRY(const std::string text, read_file(options.file, ledger::kMaxEvidenceBytes));
  Checked checked;
  GENESIS_TRY(checked.evidence, ledger::read_evidence(text));
  GENESIS_TRY(checked.signer, judge_signer(common, checked.evidence, options.public_key));
  if (options.ledger.empty() && !options.own_ledger) {
    return checked;
  }
  GENESIS_TRY(store::DatabaseOptions place, ledger_to_check(common, options));
  GENESIS_TRY(checked.ledger, ledger::verify(place));
  GENESIS_TRY(const auto database, store::Database::open(std::move(place)));
  GENESIS_TRY_VOID(ledger::recompute_evidence(checked.evidence, *database));
  return checked;
}

std::string report_field(const ledger::Evidence& evidence, std::string_view name) {
  const auto value = get_string(evidence.report.get_object(), name);
  return value && *value ? without_controls(**value) : "?";
}

std::string checked_text(const Checked& checked) {
  const ledger::Evidence& evidence = checked.evidence;
  std::string text = fmt::format(
      "signature is good: made {} by {}\n"
      "  signer    {} ({})\n"
      "  period    {} until {}\n"
      "  cost      {} USD\n"
      "  baseline  {} USD\n"
      "  saving    {} USD, {} to {}\n",
      without_controls(evidence.made),
      without_controls(evidence.tool),
      format_public_key(evidence.signer),
      checked.signer,
      report_field(evidence, "since"),
      report_field(evidence, "until"),
      report_field(evidence, "total_cost_usd"),
      report_field(evidence, "baseline_usd"),
      report_field(evidence, "saving_usd"),
      report_field(evidence, "saving_low_usd"),
      report_field(evidence, "saving_high_usd"));
  text += checked.ledger
              ? fmt::format("  ledger    intact, {} rows; every figure computed again and equal\n",
                            checked.ledger->rows)
              : "  ledger    not looked at; --ledger PATH or --own-ledger computes every figure "
                "again\n";
  return text;
}

std::string checked_json(const Checked& checked) {
  JsonWriter w;
  w.begin_object();
  w.field_bool("ok", true);
  w.field("public_key", format_public_key(checked.evidence.signer));
  w.field("signer", checked.signer);
  w.field("tool", checked.evidence.tool);
  w.field("made", checked.evidence.made);
  w.field_bool("recomputed", checked.ledger.has_value());
  w.field("saving_usd", report_field(checked.evidence, "saving_usd"));
  w.end_object();
  return w.take() + "\n";
}

void print_failure_json(const Error& error) {
  JsonWriter w;
  w.begin_object();
  w.field_bool("ok", false);
  w.field("where", error.param);
  w.field("message", error.message);
  w.end_object();
  print_out(w.take() + "\n");
}

// Writes beside the file and renames, so that a reader never finds a part.
class RowFile {
 public:
  static Result<RowFile> open(const std::string& name) {
    RowFile out;
    out.name_ = name;
    if (name == "-") {
      out.file_.reset(stdout);
      return out;
    }
    out.file_.reset(std::fopen((name + ".part").c_str(), "wbe"));
    if (!out.file_) {
      return out.failed("cannot write");
    }
    return out;
  }

  Result<void> write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) {
      return failed("cannot write");
    }
    return {};
  }

  Result<void> finish() {
    if (std::fflush(file_.get()) != 0) {
      return failed("cannot write");
    }
    if (name_ != "-" && std::rename((name_ + ".part").c_str(), name_.c_str()) != 0) {
      return failed("cannot rename to");
    }
    return {};
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const {
      if (file != stdout) {
        std::fclose(file);  // NOLINT(cert-err33-c): finish() has flushed and looked
      }
    }
  };

  std::unexpected<Error> failed(std::string_view what) const {
    return fail(ErrorCode::kIo, fmt::format("{} {}: {}", what, name_, std::strerror(errno)));
  }

  std::string name_;
  std::unique_ptr<std::FILE, Close> file_;
};

Result<std::int64_t> export_rows(const CommonOptions& common, const LedgerExportOptions& options) {
  GENESIS_TRY(const std::int64_t since_ms, since_or_start(options.since));
  GENESIS_TRY(const Books books, open_books(common, store::OpenMode::kReadOnly));
  GENESIS_TRY(RowFile out, RowFile::open(options.csv_file));
  GENESIS_TRY_VOID(out.write(ledger::row_csv_header()));
  std::int64_t rows = 0;
  GENESIS_TRY_VOID(
      ledger::for_each_row(*books.database, since_ms, [&](const ledger::LedgerRow& row) {
        ++rows;
        return out.write(ledger::row_csv(row));
      }));
  GENESIS_TRY_VOID(out.finish());
  return rows;
}

Result<PublicKey> own_public_key(const CommonOptions& common) {
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const SigningKey key, SigningKey::open(key_file(home)));
  return key.public_key();
}

}  // namespace

int savings(const CommonOptions& common, const SavingsOptions& options) {
  const auto shown = show_savings(common, options);
  return shown ? kExitOk : report(shown.error());
}

int savings_verify(const CommonOptions& common, const SavingsVerifyOptions& options) {
  const auto checked = check_evidence(common, options);
  if (!checked) {
    if (common.json) {
      print_failure_json(checked.error());
    }
    return report(checked.error());
  }
  print_out(common.json ? checked_json(*checked) : checked_text(*checked));
  return kExitOk;
}

int ledger_pubkey(const CommonOptions& common) {
  const auto key = own_public_key(common);
  if (!key) {
    return report(key.error());
  }
  const std::string text = format_public_key(*key);
  print_out(common.json ? fmt::format("{{\"public_key\":\"{}\"}}\n", text) : text + "\n");
  return kExitOk;
}

int ledger_export(const CommonOptions& common, const LedgerExportOptions& options) {
  const auto rows = export_rows(common, options);
  if (!rows) {
    return report(rows.error());
  }
  if (options.csv_file != "-") {
    print_note(fmt::format("{} rows written to {}", *rows, options.csv_file));
  }
  return kExitOk;
}

}  // namespace genesis::cli
