// The port's three verbs, each one unit of work on the writer thread.
#include "ledger/sql_ledger.h"

#include "base/log.h"
#include "ledger/entry.h"
#include "ledger/money.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::ledger {

namespace {

// Names come from requests and the configuration; a row does not grow with them.
constexpr std::size_t kMaxNameBytes = 512;

Result<void> check_names(const Reservation& r) {
  const std::pair<std::string_view, const std::string*> names[] = {{"request_id", &r.id.request_id},
                                                                   {"tenant", &r.tenant},
                                                                   {"key_id", &r.key_id},
                                                                   {"route", &r.route},
                                                                   {"endpoint", &r.endpoint},
                                                                   {"model", &r.model}};
  for (const auto& [field, value] : names) {
    if (value->size() > kMaxNameBytes) {
      return fail_param(std::string(field),
                        fmt::format("'{}' is longer than {} bytes", field, kMaxNameBytes));
    }
  }
  if (r.id.request_id.empty() || r.endpoint.empty()) {
    return fail_param("request_id", "an attempt needs a request id and an endpoint");
  }
  return validate_usage(r.upper_bound);
}

const Entry* find_reserve(const std::vector<Entry>& rows) {
  return !rows.empty() && rows.front().kind == kind::kReserve ? &rows.front() : nullptr;
}

// The row that ended the attempt, if any.
const Entry* find_end(const std::vector<Entry>& rows) {
  return rows.size() > 1 ? &rows.back() : nullptr;
}

std::unexpected<Error> no_reserve(const AttemptId& id) {
  return fail(ErrorCode::kNotFound,
              fmt::format("attempt {} of {} was never reserved", id.attempt, id.request_id));
}

std::unexpected<Error> ended_otherwise(const AttemptId& id, const Entry& end) {
  return fail(
      ErrorCode::kConflict,
      fmt::format(
          "attempt {} of {} has already ended as '{}'", id.attempt, id.request_id, end.kind));
}

Entry reserve_entry(const Reservation& r, const BaselinePin* pin, std::int64_t now) {
  Entry entry;
  entry.unix_ms = now;
  entry.kind = kind::kReserve;
  entry.request_id = r.id.request_id;
  entry.attempt = r.id.attempt;
  entry.tenant = r.tenant;
  entry.key_id = r.key_id;
  entry.route = r.route;
  entry.endpoint = r.endpoint;
  entry.tier = tier_name(r.tier);
  entry.model = r.model;
  entry.set_usage(r.upper_bound);
  if (pin != nullptr) {
    entry.baseline_model = pin->model;
    entry.baseline_price_id = pin->price_id;
  }
  return entry;
}

// Prices `entry`'s usage: amount and price_id, or neither.
Result<void> apply_price(store::Transaction& tx, const PriceTable& prices, Entry& entry) {
  const TokenPrice* price = prices.find_for(entry.endpoint, entry.model, entry.unix_ms);
  if (price == nullptr) {
    return {};
  }
  GENESIS_TRY(entry.amount_nano, token_cost(*price, entry.usage()));
  entry.price_id = price->id;
  return remember_price(tx, *price);
}

// The price behind the pin that the reservation carries.
Result<std::optional<TokenPrice>> pinned_price(store::Transaction& tx,
                                               const PriceTable& prices,
                                               const Entry& reserve) {
  if (reserve.baseline_price_id.empty()) {
    return std::nullopt;
  }
  const TokenPrice* price = prices.find(reserve.baseline_model, reserve.unix_ms);
  if (price != nullptr && price->id == reserve.baseline_price_id) {
    return *price;
  }
  return recall_price(tx, reserve.baseline_price_id);
}

Result<void> apply_baseline(store::Transaction& tx,
                            const PriceTable& prices,
                            const Entry& reserve,
                            Entry& entry) {
  if (entry.delivered == 0) {
    return {};
  }
  GENESIS_TRY(const auto price, pinned_price(tx, prices, reserve));
  if (price) {
    GENESIS_TRY(entry.baseline_nano, token_cost(*price, entry.usage()));
  }
  return {};
}

bool same_reservation(const Entry& a, const Entry& b) {
  return a.tenant == b.tenant && a.key_id == b.key_id && a.route == b.route &&
         a.endpoint == b.endpoint && a.tier == b.tier && a.model == b.model && a.input == b.input &&
         a.output == b.output;
}

Result<void> do_reserve(store::Transaction& tx, const PriceTable& prices, Entry entry) {
  const AttemptId id{entry.request_id, static_cast<std::uint32_t>(entry.attempt)};
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(tx, id));
  if (!rows.empty()) {
    if (same_reservation(rows.front(), entry)) {
      return {};
    }
    return fail(
        ErrorCode::kConflict,
        fmt::format(
            "attempt {} of {} is reserved already, and differently", id.attempt, id.request_id));
  }
  GENESIS_TRY_VOID(apply_price(tx, prices, entry));
  return append_entry(tx, entry);
}

// A row that ends what `reserve` began.
Entry end_entry(const Entry& reserve, std::string_view kind, std::int64_t now) {
  Entry entry = reserve;
  entry.kind = kind;
  entry.unix_ms = now;
  entry.set_usage({});
  entry.amount_nano = 0;
  entry.price_id.clear();
  return entry;
}

struct PostResult {
  std::optional<NanoUsd> amount;  // nullopt: quarantined
  std::string model;
};

struct PostInput {
  AttemptId id;
  AttemptOutcome outcome;
  std::int64_t now = 0;
};

Entry post_entry(const Entry& reserve, const PostInput& input) {
  Entry entry = end_entry(reserve, kind::kPost, input.now);
  const AttemptOutcome& outcome = input.outcome;
  const std::size_t remark = outcome.finish.find(';');
  entry.finish = outcome.finish.substr(0, std::min(remark, kMaxNameBytes));
  entry.note = remark == std::string::npos ? "" : outcome.finish.substr(remark + 1, kMaxNameBytes);
  entry.set_usage(outcome.usage);
  entry.amount_nano.reset();
  entry.delivered = outcome.delivered ? 1 : 0;
  entry.first_token_ms = outcome.first_token_ms;
  entry.total_ms = outcome.total_ms;
  return entry;
}

bool same_outcome(const Entry& a, const Entry& b) {
  return a.input == b.input && a.cached_input == b.cached_input && a.cache_write == b.cache_write &&
         a.output == b.output && a.reasoning == b.reasoning && a.finish == b.finish &&
         a.delivered == b.delivered;
}

Result<PostResult> do_post(store::Transaction& tx,
                           const SqlLedgerOptions& options,
                           const PostInput& input) {
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(tx, input.id));
  const Entry* reserve = find_reserve(rows);
  if (reserve == nullptr) {
    return no_reserve(input.id);
  }
  Entry entry = post_entry(*reserve, input);
  if (const Entry* end = find_end(rows)) {
    const bool posted = end->kind == kind::kPost || end->kind == kind::kQuarantine;
    if (!posted || !same_outcome(*end, entry)) {
      return ended_otherwise(input.id, *end);
    }
    return PostResult{end->amount_nano, end->model};
  }
  GENESIS_TRY_VOID(apply_price(tx, *options.prices, entry));
  if (entry.amount_nano) {
    GENESIS_TRY_VOID(apply_baseline(tx, *options.prices, *reserve, entry));
  } else {
    // Without a cost there is no saving to claim either: no baseline.
    entry.kind = kind::kQuarantine;
    entry.note += entry.note.empty() ? "unpriced" : ";unpriced";
  }
  GENESIS_TRY_VOID(append_entry(tx, entry));
  return PostResult{entry.amount_nano, entry.model};
}

Result<void> do_void(store::Transaction& tx,
                     const AttemptId& id,
                     const std::string& reason,
                     std::int64_t now) {
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(tx, id));
  const Entry* reserve = find_reserve(rows);
  if (reserve == nullptr) {
    return no_reserve(id);
  }
  if (const Entry* end = find_end(rows)) {
    return end->kind == kind::kVoid ? Result<void>{} : ended_otherwise(id, *end);
  }
  Entry entry = end_entry(*reserve, kind::kVoid, now);
  entry.finish = reason.substr(0, kMaxNameBytes);
  return append_entry(tx, entry);
}

constexpr std::int64_t kMinutesPerHour = 60;

Result<bool> do_machine(store::Transaction& tx, const MachineMinute& minute) {
  Entry entry;
  entry.unix_ms = minute.start_ms;
  entry.kind = kind::kMachine;
  entry.request_id = "machine:" + minute.endpoint;
  entry.attempt = minute.start_ms / 60'000;
  entry.tenant = "operator";
  entry.key_id = "operator";
  entry.endpoint = minute.endpoint;
  entry.tier = tier_name(minute.tier);
  entry.finish = "minute";
  GENESIS_TRY(entry.amount_nano, line_cost(1, minute.per_hour, kMinutesPerHour));
  entry.note = fmt::format("{} nano-USD per hour", minute.per_hour);
  {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT 1 FROM entries WHERE request_id = ?1 AND attempt = ?2"
                           " AND kind = 'machine'"));
    GENESIS_TRY(const bool there, select.bind(1, entry.request_id).bind(2, entry.attempt).step());
    if (there) {
      return false;
    }
  }
  GENESIS_TRY_VOID(append_entry(tx, entry));
  return true;
}

Result<std::vector<PinAndPrice>> wanted_pins(const SqlLedgerOptions& options, std::int64_t now) {
  std::vector<PinAndPrice> pins;
  const auto add = [&](const std::string& route, const std::string& model) -> Result<void> {
    PinAndPrice wanted{.pin = {.unix_ms = now, .route = route, .model = model}, .price = {}};
    if (!model.empty()) {
      const TokenPrice* price = options.prices->find(model, now);
      if (price == nullptr) {
        return fail_param(route.empty() ? "ledger.baseline_model" : "route.baseline",
                          fmt::format("no price is known today for the baseline model '{}'", model),
                          ErrorCode::kConfig);
      }
      wanted.price = *price;
      wanted.pin.price_id = price->id;
    }
    pins.push_back(std::move(wanted));
    return {};
  };
  GENESIS_TRY_VOID(add("", options.baselines.model));
  for (const auto& [route, model] : options.baselines.routes) {
    GENESIS_TRY_VOID(add(route, model));
  }
  return pins;
}

Result<void> write_pins(store::Transaction& tx, const std::vector<PinAndPrice>& pins) {
  for (const PinAndPrice& each : pins) {
    GENESIS_TRY_VOID(write_pin(tx, each.pin, each.price ? &*each.price : nullptr));
  }
  return {};
}

Metric& row_counter(MetricsRegistry& metrics, std::string_view kind) {
  return metrics.counter(
      "genesis_ledger_rows_total", "Ledger rows written, by kind", prometheus_label("kind", kind));
}

}  // namespace

SqlLedger::SqlLedger(store::Database& database,
                     const Clock& clock,
                     MetricsRegistry& metrics,
                     SqlLedgerOptions options)
    : database_(database),
      clock_(clock),
      options_(std::move(options)),
      rows_reserved_(row_counter(metrics, kind::kReserve)),
      rows_posted_(row_counter(metrics, kind::kPost)),
      rows_voided_(row_counter(metrics, kind::kVoid)),
      rows_quarantined_(row_counter(metrics, kind::kQuarantine)),
      rows_machine_(row_counter(metrics, kind::kMachine)),
      failures_(metrics.counter("genesis_ledger_failures_total", "Ledger writes that failed")) {}

Result<std::unique_ptr<SqlLedger>> SqlLedger::open(store::Database& database,
                                                   const Clock& clock,
                                                   MetricsRegistry& metrics,
                                                   SqlLedgerOptions options) {
  GENESIS_TRY(const auto wanted, wanted_pins(options, clock.unix_ms()));
  std::unique_ptr<SqlLedger> ledger(new SqlLedger(database, clock, metrics, std::move(options)));
  GENESIS_TRY_VOID(ledger->recover());
  GENESIS_TRY_VOID(database.write_blocking(
      [&wanted](store::Transaction& tx) -> Result<void> { return write_pins(tx, wanted); }));
  ledger->remember_pins(wanted);
  return ledger;
}

Task<Result<void>> SqlLedger::reconfigure(SqlLedgerOptions options) {
  GENESIS_CO_TRY(auto wanted, wanted_pins(options, clock_.unix_ms()));
  // Attempts reserved while the pins are on their way still go by the old configuration.
  GENESIS_CO_TRY_VOID(
      co_await database_.write([wanted](store::Transaction& tx) { return write_pins(tx, wanted); },
                               store::Urgency::kCompletion));
  options_ = std::move(options);
  remember_pins(wanted);
  co_return Result<void>{};
}

void SqlLedger::remember_pins(const std::vector<PinAndPrice>& pins) {
  pins_.clear();
  for (const PinAndPrice& each : pins) {
    pins_.emplace(each.pin.route, each.pin);
  }
}

// A dated price may end, and the next begin, while the gateway runs: then the baseline is pinned
// anew before the attempt that is compared with it. No price for today: no baseline.
Task<Result<const BaselinePin*>> SqlLedger::pin_for(std::string_view route) {
  const std::string scope(options_.baselines.has_own(route) ? route : std::string_view());
  const std::string_view model = options_.baselines.model_of(route);
  const std::int64_t now = clock_.unix_ms();
  const TokenPrice* price = model.empty() ? nullptr : options_.prices->find(model, now);
  if (price == nullptr) {
    co_return nullptr;
  }
  BaselinePin& pin = pins_[scope];
  if (pin.price_id == price->id && pin.model == model) {
    co_return &pin;
  }
  const BaselinePin next{
      .unix_ms = now, .route = scope, .model = std::string(model), .price_id = price->id};
  GENESIS_CO_TRY_VOID(co_await database_.write(
      [next, price = *price](store::Transaction& tx) { return write_pin(tx, next, &price); }));
  BaselinePin& written = pins_[scope];
  written = next;
  co_return &written;
}

Task<Result<void>> SqlLedger::reserve(const Reservation& reservation) {
  GENESIS_CO_TRY_VOID(check_names(reservation));
  GENESIS_CO_TRY(const BaselinePin* pin, co_await pin_for(reservation.route));
  auto work = [prices = options_.prices, entry = reserve_entry(reservation, pin, clock_.unix_ms())](
                  store::Transaction& tx) { return do_reserve(tx, *prices, entry); };
  auto outcome = co_await database_.write(std::move(work));
  (outcome ? rows_reserved_ : failures_).add();
  co_return outcome;
}

Task<Result<NanoUsd>> SqlLedger::post(const AttemptId& id, const AttemptOutcome& outcome) {
  GENESIS_CO_TRY_VOID(validate_usage(outcome.usage));
  auto result = std::make_shared<PostResult>();
  auto work = [options = options_, input = PostInput{id, outcome, clock_.unix_ms()}, result](
                  store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(*result, do_post(tx, options, input));
    return {};
  };
  const auto written = co_await database_.write(std::move(work), store::Urgency::kCompletion);
  if (!written) {
    failures_.add();
    co_return std::unexpected(written.error());
  }
  if (!result->amount) {
    rows_quarantined_.add();
    log(LogLevel::kWarn,
        "no price is known: the attempt is quarantined in the ledger",
        {{"model", result->model}, {"request_id", id.request_id}});
    co_return fail_param(
        result->model,
        fmt::format("no price is known for '{}': the attempt is in quarantine", result->model),
        ErrorCode::kNotFound);
  }
  rows_posted_.add();
  co_return *result->amount;
}

Task<Result<void>> SqlLedger::void_attempt(const AttemptId& id, const std::string& reason) {
  auto work = [id, reason, now = clock_.unix_ms()](store::Transaction& tx) {
    return do_void(tx, id, reason, now);
  };
  auto outcome = co_await database_.write(std::move(work), store::Urgency::kCompletion);
  (outcome ? rows_voided_ : failures_).add();
  co_return outcome;
}

Task<Result<void>> SqlLedger::charge_machine(const MachineMinute& minute) {
  auto fresh = std::make_shared<bool>(false);
  auto work = [minute, fresh](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(*fresh, do_machine(tx, minute));
    return {};
  };
  auto outcome = co_await database_.write(std::move(work), store::Urgency::kCompletion);
  if (!outcome) {
    failures_.add();
  } else if (*fresh) {
    rows_machine_.add();
  }
  co_return outcome;
}

}  // namespace genesis::ledger
