// The port's three verbs: rows are built and priced here, numbered and hashed by the writer.
#include "ledger/sql_ledger.h"

#include "base/log.h"
#include "ledger/booking.h"
#include "ledger/entry.h"
#include "ledger/intent_ring.h"
#include "ledger/money.h"
#include "ledger/write_queue.h"

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
                                                                   {"team", &r.team},
                                                                   {"agent", &r.agent},
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

std::string attempt_key(const AttemptId& id) {
  return fmt::format("{}/{}", id.request_id, id.attempt);
}

Entry reserve_entry(const Reservation& r, const BaselinePin* pin, std::int64_t now) {
  Entry entry;
  entry.unix_ms = now;
  entry.kind = kind::kReserve;
  entry.request_id = r.id.request_id;
  entry.attempt = r.id.attempt;
  entry.tenant = r.tenant;
  entry.key_id = r.key_id;
  entry.team = r.team;
  entry.agent = r.agent;
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

Entry post_entry(const Entry& reserve, const AttemptOutcome& outcome, std::int64_t now) {
  Entry entry = end_entry(reserve, kind::kPost, now);
  const std::size_t remark = outcome.finish.find(';');
  entry.finish = outcome.finish.substr(0, std::min(remark, kMaxNameBytes));
  entry.note = remark == std::string::npos ? "" : outcome.finish.substr(remark + 1, kMaxNameBytes);
  entry.set_usage(outcome.usage);
  entry.amount_nano.reset();
  entry.delivered = outcome.delivered ? 1 : 0;
  entry.first_token_ms = outcome.first_token_ms;
  entry.total_ms = outcome.total_ms;
  if (outcome.disputed) {
    entry.disputed = usage_json(*outcome.disputed);
    entry.note += entry.note.empty() ? "disputed" : ";disputed";
  }
  return entry;
}

// Usage, amount and price stay those of the reservation: the upper bound.
void set_unconfirmed(Entry& entry, const Entry& reserve) {
  entry.kind = kind::kUnconfirmed;
  entry.set_usage(reserve.usage());
  entry.amount_nano = reserve.amount_nano;
  entry.price_id = reserve.price_id;
}

Entry void_entry(const Entry& reserve, const std::string& reason, std::int64_t now) {
  Entry entry = end_entry(reserve, kind::kVoid, now);
  entry.finish = reason.substr(0, kMaxNameBytes);
  return entry;
}

// What an end that comes for an attempt this process does not have open finds in the database: it
// never succeeds in ending it, but may repeat what stands.
Result<Entry> standing_end(Booking& booking, const AttemptId& id, const Entry& wanted) {
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(booking.tx, id));
  if (find_reserve(rows) == nullptr) {
    return no_reserve(id);
  }
  const Entry* end = find_end(rows);
  if (end == nullptr) {
    return fail(
        ErrorCode::kConflict,
        fmt::format("attempt {} of {} is open in another process", id.attempt, id.request_id));
  }
  Entry same_kind = wanted;
  if (end->kind == kind::kQuarantine && wanted.kind == kind::kPost) {
    same_kind.kind = kind::kQuarantine;
  }
  return same_end(*end, same_kind) ? Result<Entry>(*end) : ended_otherwise(id, *end);
}

constexpr std::int64_t kMinutesPerHour = 60;

Result<Entry> machine_entry(const MachineMinute& minute) {
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
  return entry;
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
      rows_unconfirmed_(row_counter(metrics, kind::kUnconfirmed)),
      rows_quarantined_(row_counter(metrics, kind::kQuarantine)),
      rows_machine_(row_counter(metrics, kind::kMachine)),
      rows_disputed_(metrics.counter("genesis_ledger_disputed_rows_total",
                                     "Posts whose count the upstream told differently")),
      failures_(metrics.counter("genesis_ledger_failures_total", "Ledger writes that failed")) {}

SqlLedger::~SqlLedger() = default;

Result<std::unique_ptr<SqlLedger>> SqlLedger::open(store::Database& database,
                                                   const Clock& clock,
                                                   MetricsRegistry& metrics,
                                                   SqlLedgerOptions options) {
  GENESIS_TRY(const auto wanted, wanted_pins(options, clock.unix_ms()));
  std::unique_ptr<SqlLedger> ledger(new SqlLedger(database, clock, metrics, std::move(options)));
  ledger->writer_ = database.writer();
  std::unique_ptr<IntentRing> ring;
  if (!ledger->options_.ring.empty()) {
    GENESIS_TRY(ring, ledger->open_ring());
    if (ledger->writer_.empty()) {
      ledger->writer_ = ring->name();
    }
    GENESIS_TRY_VOID(ledger->replay(*ring));
  }
  GENESIS_TRY_VOID(ledger->recover());
  GENESIS_TRY_VOID(database.write_blocking(
      [&wanted](store::Transaction& tx) -> Result<void> { return write_pins(tx, wanted); }));
  ledger->remember_pins(wanted);
  ledger->queue_ = std::make_unique<WriteQueue>(database, clock, metrics, std::move(ring));
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(const std::vector<Budget> budgets, read_budgets(tx));
    ledger->queue_->note_budgets(!budgets.empty());
    return {};
  }));
  return ledger;
}

Result<void> SqlLedger::set_file_budgets(const std::vector<Budget>& budgets) {
  GENESIS_TRY_VOID(database_.write_blocking(
      [&](store::Transaction& tx) { return sync_file_budgets(tx, budgets, clock_.unix_ms()); }));
  queue_->note_budgets(queue_->has_budgets() || !budgets.empty());
  return {};
}

Task<Result<void>> SqlLedger::change_file_budgets(std::vector<Budget> budgets) {
  const bool any = !budgets.empty();
  auto work = [budgets = std::move(budgets), now = clock_.unix_ms()](store::Transaction& tx) {
    return sync_file_budgets(tx, budgets, now);
  };
  GENESIS_CO_TRY_VOID(co_await database_.write(std::move(work), store::Urgency::kCompletion));
  queue_->note_budgets(queue_->has_budgets() || any);
  co_return Result<void>{};
}

Task<Result<void>> SqlLedger::flush() {
  co_return co_await queue_->write([](Booking&) { return Result<void>{}; },
                                   store::Urgency::kCompletion);
}

// The row has to carry a price that the database may not hold yet.
void SqlLedger::keep(Intent& intent, const TokenPrice& price) const {
  if (!queue_->keeps_price(price.id)) {
    intent.prices.push_back(price);
  }
}

// Amount and price_id, or neither.
void SqlLedger::price(Intent& intent) const {
  Entry& entry = intent.entry;
  const TokenPrice* price = options_.prices->find_for(entry.endpoint, entry.model, entry.unix_ms);
  const auto cost = price != nullptr ? token_cost(*price, entry.usage()) : Result<NanoUsd>(0);
  if (price != nullptr && cost) {
    entry.amount_nano = *cost;
    entry.price_id = price->id;
    keep(intent, *price);
  }
}

// A delivered answer at the price of the pin that its reservation carries.
void SqlLedger::add_baseline(Entry& entry) const {
  const auto price = pinned_prices_.find(entry.baseline_price_id);
  if (entry.delivered != 0 && price != pinned_prices_.end()) {
    const auto cost = token_cost(price->second, entry.baseline_usage());
    entry.baseline_nano = cost ? std::optional(*cost) : std::nullopt;
  }
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
    if (each.price) {
      pinned_prices_.emplace(each.price->id, *each.price);
    }
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
  pinned_prices_.emplace(price->id, *price);
  GENESIS_CO_TRY_VOID(co_await database_.write(
      [next, price = *price](store::Transaction& tx) { return write_pin(tx, next, &price); }));
  BaselinePin& written = pins_[scope];
  written = next;
  co_return &written;
}

std::chrono::nanoseconds SqlLedger::longest_wait() const {
  return line_.empty() ? std::chrono::nanoseconds(0) : clock_.steady() - line_.front();
}

std::chrono::nanoseconds SqlLedger::lag() const {
  return queue_->lag();
}

Task<Result<void>> SqlLedger::reserve(const Reservation& reservation) {
  const auto place = line_.insert(line_.end(), clock_.steady());
  auto reserved = co_await reserve_in_line(reservation);
  line_.erase(place);
  co_return reserved;
}

Task<Result<void>> SqlLedger::reserve_in_line(const Reservation& reservation) {
  GENESIS_CO_TRY_VOID(check_names(reservation));
  GENESIS_CO_TRY(const BaselinePin* pin, co_await pin_for(reservation.route));
  auto intent = std::make_shared<Intent>();
  intent->entry = reserve_entry(reservation, pin, clock_.unix_ms());
  intent->entry.writer = writer_;
  price(*intent);
  const std::string key = attempt_key(reservation.id);
  const bool again = open_.contains(key);
  // A budget must see it, and a paid endpoint is not called before the row is on disk.
  const bool held = queue_->has_budgets() && intent->entry.amount_nano != 0;
  if (!again && !held) {
    const auto known = reservation.tier == Tier::kSelfHosted
                           ? queue_->push(*intent)
                           : co_await queue_->push_durable(*intent);
    if (known) {
      const auto kept =
          open_.try_emplace(key, std::make_unique<Entry>(std::move(intent->entry))).second;
      rows_reserved_.add(kept ? 1 : 0);
      co_return Result<void>{};
    }
    if (known.error().code != ErrorCode::kResourceExhausted) {
      failures_.add();
      co_return known;
    }
  }
  const auto written = co_await queue_->write(intent, store::Urgency::kNew);
  if (!written) {
    failures_.add(written.error().code == ErrorCode::kBudgetExhausted ? 0 : 1);
    co_return written;
  }
  // A number was given only if the row is new.
  if (intent->fresh) {
    rows_reserved_.add();
    open_.emplace(key, std::make_unique<Entry>(std::move(intent->entry)));
  }
  co_return written;
}

Intent SqlLedger::end_intent(const Entry& reserve, Entry entry) const {
  return {.entry = std::move(entry), .held_ms = reserve.unix_ms, .held_nano = reserve.amount_nano};
}

// The ring takes it, or the caller waits.
Task<Result<void>> SqlLedger::end(Intent intent) {
  if (queue_->push(intent)) {
    co_return Result<void>{};
  }
  auto written = co_await queue_->write(std::make_shared<Intent>(std::move(intent)),
                                        store::Urgency::kCompletion);
  failures_.add(written ? 0 : 1);
  co_return written;
}

Task<Result<Posted>> SqlLedger::post(const AttemptId& id, const AttemptOutcome& outcome) {
  GENESIS_CO_TRY_VOID(validate_usage(outcome.usage));
  const auto known = open_.find(attempt_key(id));
  if (known == open_.end()) {
    co_return co_await post_unknown(id, outcome);
  }
  const std::unique_ptr<Entry> reserve = std::move(known->second);
  open_.erase(known);
  Intent intent = end_intent(*reserve, post_entry(*reserve, outcome, clock_.unix_ms()));
  if (outcome.unconfirmed) {
    set_unconfirmed(intent.entry, *reserve);
  } else {
    price(intent);
  }
  if (intent.entry.amount_nano) {
    add_baseline(intent.entry);
  } else {
    // Without a cost there is no saving to claim either: no baseline.
    intent.entry.kind = kind::kQuarantine;
    intent.entry.note += intent.entry.note.empty() ? "unpriced" : ";unpriced";
  }
  Entry booked = intent.entry;
  GENESIS_CO_TRY_VOID(co_await end(std::move(intent)));
  rows_disputed_.add(outcome.disputed ? 1 : 0);
  (!booked.amount_nano   ? rows_quarantined_
   : outcome.unconfirmed ? rows_unconfirmed_
                         : rows_posted_)
      .add();
  co_return co_await finish_post(std::move(booked));
}

Task<Result<Posted>> SqlLedger::finish_post(Entry booked) {
  if (booked.amount_nano) {
    co_return Posted{.cost = *booked.amount_nano, .baseline = booked.baseline_nano};
  }
  log(LogLevel::kWarn,
      "no price is known: the attempt is quarantined in the ledger",
      {{"model", booked.model}, {"request_id", booked.request_id}});
  co_return fail_param(
      booked.model,
      fmt::format("no price is known for '{}': the attempt is in quarantine", booked.model),
      ErrorCode::kNotFound);
}

Task<Result<Posted>> SqlLedger::post_unknown(const AttemptId& id, const AttemptOutcome& outcome) {
  auto standing = std::make_shared<Entry>();
  auto work =
      [id, wanted = post_entry({}, outcome, 0), standing](Booking& booking) -> Result<void> {
    GENESIS_TRY(*standing, standing_end(booking, id, wanted));
    return {};
  };
  const auto found = co_await queue_->write(std::move(work), store::Urgency::kCompletion);
  if (!found) {
    failures_.add();
    co_return std::unexpected(found.error());
  }
  co_return co_await finish_post(std::move(*standing));
}

Task<Result<void>> SqlLedger::void_attempt(const AttemptId& id, const std::string& reason) {
  const auto known = open_.find(attempt_key(id));
  if (known == open_.end()) {
    co_return co_await void_unknown(id, reason);
  }
  const std::unique_ptr<Entry> reserve = std::move(known->second);
  open_.erase(known);
  GENESIS_CO_TRY_VOID(
      co_await end(end_intent(*reserve, void_entry(*reserve, reason, clock_.unix_ms()))));
  rows_voided_.add();
  co_return Result<void>{};
}

Task<Result<void>> SqlLedger::void_unknown(const AttemptId& id, const std::string& reason) {
  auto work = [id, wanted = void_entry({}, reason, 0)](Booking& booking) -> Result<void> {
    GENESIS_TRY([[maybe_unused]] const Entry standing, standing_end(booking, id, wanted));
    return {};
  };
  auto found = co_await queue_->write(std::move(work), store::Urgency::kCompletion);
  failures_.add(found ? 0 : 1);
  co_return found;
}

Task<Result<void>> SqlLedger::charge_machine(const MachineMinute& minute) {
  GENESIS_CO_TRY(Entry entry, machine_entry(minute));
  entry.writer = writer_;
  auto fresh = std::make_shared<bool>(false);
  auto work = [entry = std::move(entry), fresh](Booking& booking) mutable -> Result<void> {
    GENESIS_TRY(*fresh, booking.rows.append(entry));
    return {};
  };
  auto outcome = co_await queue_->write(std::move(work), store::Urgency::kCompletion);
  if (!outcome) {
    failures_.add();
  } else if (*fresh) {
    rows_machine_.add();
  }
  co_return outcome;
}

}  // namespace genesis::ledger
