#include "ledger/savings_rows.h"

#include "base/clock.h"
#include "ledger/entry.h"
#include "ledger/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

namespace genesis::ledger {

namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kDayMs = 24 * 60 * kMinuteMs;
// More groups than anybody reads; the limit keeps a hostile route name in each request from
// filling the memory.
constexpr std::size_t kMaxRows = 200'000;
// An attempt is believed to have run at most so long, whatever its row says.
constexpr std::int64_t kLongestAttemptMs = kDayMs;

std::string_view group_column(GroupBy by) {
  switch (by) {
    case GroupBy::kTenant:
      return "tenant";
    case GroupBy::kTeam:
      return "team";
    case GroupBy::kAgent:
      return "agent";
    case GroupBy::kRoute:
      return "route";
    case GroupBy::kKey:
      return "key_id";
    case GroupBy::kTier:
      return "tier";
    case GroupBy::kEndpoint:
      return "endpoint";
    case GroupBy::kModel:
      return "model";
    case GroupBy::kNothing:
    case GroupBy::kDay:
      break;
  }
  return "''";
}

std::string day_name(std::int64_t day) {
  return format_rfc3339(day * kDayMs).substr(0, 10);
}

// Reads one period within one snapshot.
class Reader {
 public:
  Reader(store::Transaction& tx, const SavingsQuery& query) : tx_(tx), query_(query) {}

  Result<LedgerRows> rows() {
    GENESIS_TRY_VOID(read_attempts());
    GENESIS_TRY_VOID(read_in_flight());
    GENESIS_TRY_VOID(read_machines());
    return std::move(rows_);
  }

  // The pins that rows of the period carry.
  Result<std::vector<BaselinePin>> pins() {
    GENESIS_TRY(const std::vector<BaselinePin> all, read_pins(tx_, query_.through_seq));
    GENESIS_TRY(store::Statement select,
                tx_.prepare("SELECT DISTINCT route, baseline_model, baseline_price_id FROM entries"
                            " WHERE unix_ms >= ?1 AND unix_ms < ?2 AND seq <= ?3"
                            " AND baseline_price_id <> '' AND kind <> 'pin'"));
    bind_period(select);
    std::set<std::tuple<std::string, std::string, std::string>> used;
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        break;
      }
      for (const std::string_view route : {select.text(0), std::string_view()}) {
        used.emplace(route, select.text(1), select.text(2));
      }
      GENESIS_TRY_VOID(limit(used.size()));
    }
    std::vector<BaselinePin> pins;
    std::ranges::copy_if(all, std::back_inserter(pins), [&](const BaselinePin& pin) {
      return used.contains({pin.route, pin.model, pin.price_id});
    });
    return pins;
  }

  Result<std::vector<TokenPrice>> prices() {
    GENESIS_TRY(store::Statement select,
                tx_.prepare("SELECT price_id FROM entries WHERE unix_ms >= ?1 AND unix_ms < ?2"
                            " AND seq <= ?3 AND price_id <> '' UNION"
                            " SELECT baseline_price_id FROM entries WHERE unix_ms >= ?1"
                            " AND unix_ms < ?2 AND seq <= ?3 AND baseline_price_id <> ''"
                            " AND kind <> 'pin' ORDER BY 1"));
    bind_period(select);
    std::vector<std::string> ids;
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        break;
      }
      ids.emplace_back(select.text(0));
      GENESIS_TRY_VOID(limit(ids.size()));
    }
    std::vector<TokenPrice> prices;
    for (const std::string& id : ids) {
      GENESIS_TRY(auto price, recall_price(tx_, id));
      if (price) {
        prices.push_back(std::move(*price));
      }
    }
    return prices;
  }

  Result<ChainSpan> chain() {
    ChainSpan span;
    span.through_seq = query_.through_seq;
    {
      GENESIS_TRY(store::Statement ends,
                  tx_.prepare("SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0)"
                              " FROM entries WHERE unix_ms >= ?1 AND unix_ms < ?2"
                              " AND seq <= ?3"));
      bind_period(ends);
      GENESIS_TRY(const bool row, ends.step());
      if (row) {
        span.rows = ends.integer(0);
        span.first_seq = ends.integer(1);
        span.last_seq = ends.integer(2);
      }
    }
    GENESIS_TRY(span.first_hash, hash_of(span.first_seq));
    GENESIS_TRY(span.last_hash, hash_of(span.last_seq));
    GENESIS_TRY(span.through_hash, hash_of(span.through_seq));
    return span;
  }

 private:
  static Result<void> limit(std::size_t size) {
    if (size > kMaxRows) {
      return fail(ErrorCode::kResourceExhausted,
                  fmt::format("the report would have more than {} groups", kMaxRows),
                  "ask for a shorter period with --since");
    }
    return {};
  }

  void bind_period(store::Statement& select) const {
    select.bind(1, query_.since_ms).bind(2, query_.until_ms).bind(3, query_.through_seq);
  }

  Result<std::string> hash_of(std::int64_t seq) {
    GENESIS_TRY(store::Statement select, tx_.prepare("SELECT hash FROM entries WHERE seq = ?1"));
    GENESIS_TRY(const bool row, select.bind(1, seq).step());
    return row ? to_hex(select.blob(0)) : std::string();
  }

  Result<Tier> tier(std::string_view name) const {
    const auto known = tier_from_name(name);
    if (!known) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("the ledger names an unknown tier '{}'", name),
                  "genesis ledger verify");
    }
    return *known;
  }

  // What a group is called: the column, or the day.
  std::string name_of(std::string_view column, std::int64_t day) const {
    if (query_.by == GroupBy::kNothing) {
      return "";
    }
    if (query_.by == GroupBy::kDay) {
      return day_name(day);
    }
    return column.empty() ? "(none)" : std::string(column);
  }

  std::string day_column() const {
    return query_.by == GroupBy::kDay ? fmt::format("unix_ms / {}", kDayMs) : "0";
  }

  Result<void> read_attempts() {
    // Every CAST is for PostgreSQL, whose sums are wider than what they sum.
    const std::string sql = fmt::format(
        "SELECT kind, tier, endpoint, {} AS named, CAST({} AS BIGINT) AS day, delivered,"
        " CASE WHEN attempt > 1 THEN 1 ELSE 0 END AS retry,"
        " CASE WHEN note LIKE '%estimated%' THEN 1 ELSE 0 END AS estimated,"
        " CASE WHEN disputed <> '' THEN 1 ELSE 0 END AS disputed,"
        " CASE WHEN note LIKE '%purpose=%' THEN 1 ELSE 0 END AS overhead,"
        " CASE WHEN price_id = baseline_price_id THEN 1 ELSE 0 END AS same,"
        " count(*), count(*) - count(baseline_nano),"
        " CAST(coalesce(sum(amount_nano), 0) AS BIGINT),"
        " CAST(coalesce(sum(baseline_nano), 0) AS BIGINT),"
        " CAST(sum(input) AS BIGINT), CAST(sum(cached_input) AS BIGINT),"
        " CAST(sum(cache_write) AS BIGINT), CAST(sum(output) AS BIGINT),"
        " CAST(sum(reasoning) AS BIGINT)"
        " FROM entries WHERE unix_ms >= ?1 AND unix_ms < ?2 AND seq <= ?3"
        " AND kind IN ('post', 'void', 'quarantine', 'unconfirmed')"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        group_column(query_.by),
        day_column());
    GENESIS_TRY(store::Statement select, tx_.prepare(sql));
    bind_period(select);
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      GENESIS_TRY(AttemptRows rows, attempt_rows(select));
      rows_.attempts.push_back(std::move(rows));
      GENESIS_TRY_VOID(limit(rows_.attempts.size()));
    }
  }

  Result<AttemptRows> attempt_rows(const store::Statement& select) const {
    const std::string_view kind = select.text(0);
    AttemptRows rows;
    rows.kind = kind == kind::kPost         ? RowKind::kPost
                : kind == kind::kVoid       ? RowKind::kVoid
                : kind == kind::kQuarantine ? RowKind::kQuarantine
                                            : RowKind::kUnconfirmed;
    GENESIS_TRY(rows.tier, tier(select.text(1)));
    rows.endpoint = select.text(2);
    rows.group = name_of(select.text(3), select.integer(4));
    rows.delivered = select.integer(5) != 0;
    rows.retry = select.integer(6) != 0;
    rows.estimated = select.integer(7) != 0;
    rows.disputed = select.integer(8) != 0;
    rows.overhead = select.integer(9) != 0;
    rows.same_model = select.integer(10) != 0;
    rows.count = select.integer(11);
    rows.without_baseline = select.integer(12);
    rows.amount = select.integer(13);
    rows.baseline = select.integer(14);
    rows.usage = {.input = select.integer(15),
                  .cached_input = select.integer(16),
                  .cache_write = select.integer(17),
                  .output = select.integer(18),
                  .reasoning = select.integer(19)};
    return rows;
  }

  Result<void> read_in_flight() {
    const std::string sql = fmt::format(
        "SELECT tier, endpoint, {} AS named, CAST({} AS BIGINT) AS day, count(*),"
        " CAST(coalesce(sum(amount_nano), 0) AS BIGINT) FROM entries r"
        " WHERE unix_ms >= ?1 AND unix_ms < ?2 AND seq <= ?3 AND kind = 'reserve'"
        " AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.request_id = r.request_id"
        "  AND e.attempt = r.attempt AND e.kind <> 'reserve' AND e.seq <= ?3)"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        group_column(query_.by),
        day_column());
    GENESIS_TRY(store::Statement select, tx_.prepare(sql));
    bind_period(select);
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      AttemptRows rows{.kind = RowKind::kInFlight};
      GENESIS_TRY(rows.tier, tier(select.text(0)));
      rows.endpoint = select.text(1);
      rows.group = name_of(select.text(2), select.integer(3));
      rows.count = select.integer(4);
      rows.amount = select.integer(5);
      rows_.attempts.push_back(std::move(rows));
      GENESIS_TRY_VOID(limit(rows_.attempts.size()));
    }
  }

  // Minutes in which an attempt ran, by endpoint.
  using Minutes = std::map<std::string, std::unordered_set<std::int64_t>, std::less<>>;

  Result<Minutes> busy_minutes() {
    GENESIS_TRY(store::Statement select,
                tx_.prepare("SELECT DISTINCT endpoint, (unix_ms - total_ms) / 60000,"
                            " unix_ms / 60000 FROM entries WHERE kind IN ('post', 'quarantine')"
                            " AND unix_ms >= ?1 AND seq <= ?2"));
    select.bind(1, query_.since_ms).bind(2, query_.through_seq);
    Minutes busy;
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return busy;
      }
      const std::int64_t last = select.integer(2);
      auto& minutes = busy[std::string(select.text(0))];
      for (std::int64_t minute = std::max(select.integer(1), last - kLongestAttemptMs / kMinuteMs);
           minute <= last;
           ++minute) {
        minutes.insert(minute);
      }
    }
  }

  Result<void> read_machines() {
    GENESIS_TRY(const Minutes busy, busy_minutes());
    GENESIS_TRY(store::Statement select,
                tx_.prepare("SELECT endpoint, tier, unix_ms / 60000, amount_nano FROM entries"
                            " WHERE unix_ms >= ?1 AND unix_ms < ?2 AND seq <= ?3"
                            " AND kind = 'machine' ORDER BY seq"));
    bind_period(select);
    std::map<std::tuple<std::string, std::string, bool>, MachineRows> machines;
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        break;
      }
      const std::string endpoint(select.text(0));
      const std::int64_t minute = select.integer(2);
      const auto known = busy.find(endpoint);
      const bool idle = known == busy.end() || !known->second.contains(minute);
      std::string name = name_of(query_.by == GroupBy::kTier ? select.text(1) : endpoint,
                                 minute * kMinuteMs / kDayMs);
      MachineRows& rows = machines[{endpoint, name, idle}];
      GENESIS_TRY(rows.tier, tier(select.text(1)));
      rows.endpoint = endpoint;
      rows.group = std::move(name);
      rows.idle = idle;
      rows.minutes += 1;
      rows.amount += select.integer(3);
    }
    for (auto& [key, rows] : machines) {
      rows_.machines.push_back(std::move(rows));
    }
    return {};
  }

  store::Transaction& tx_;
  const SavingsQuery& query_;
  LedgerRows rows_;
};

Result<std::int64_t> newest_row(store::Transaction& tx) {
  GENESIS_TRY(store::Statement select, tx.prepare("SELECT coalesce(max(seq), 0) FROM entries"));
  GENESIS_TRY(const bool row, select.step());
  return row ? select.integer(0) : 0;
}

}  // namespace

Result<LedgerRows> read_ledger_rows(const store::Database& database,
                                    const SavingsQuery& query,
                                    Savings& savings) {
  LedgerRows rows;
  savings.query = query;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    if (query.through_seq == INT64_MAX) {
      GENESIS_TRY(savings.query.through_seq, newest_row(tx));
    }
    Reader reader(tx, savings.query);
    GENESIS_TRY(rows, reader.rows());
    GENESIS_TRY(savings.pins, reader.pins());
    GENESIS_TRY(savings.prices, reader.prices());
    GENESIS_TRY(savings.chain, reader.chain());
    return {};
  }));
  return rows;
}

}  // namespace genesis::ledger
