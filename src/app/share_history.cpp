#include "app/share_history.h"

#include <algorithm>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// Rows are read in so many groups at most: the cap's own grain.
constexpr std::int64_t kGroups = 1440;

// Every dispatch has a `reserve` row; the first attempt's stands for its request.
Result<void> restore(router::ShareCap& cap, const store::Database& database, const Clock& clock) {
  const std::int64_t window = cap.options().window.count();
  const std::int64_t grain = std::max<std::int64_t>(1, window / kGroups);
  const std::int64_t now_ms = clock.unix_ms();
  return database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(
        store::Statement select,
        tx.prepare(
            "SELECT unix_ms / ?1, CAST(sum(CASE WHEN attempt = 1 THEN 1 ELSE 0 END) AS BIGINT),"
            " CAST(sum(CASE WHEN tier = 'commercial' THEN 1 ELSE 0 END) AS BIGINT)"
            " FROM entries WHERE kind = 'reserve' AND unix_ms > ?2 GROUP BY 1"));
    select.bind(1, grain).bind(2, now_ms - window - grain);
    while (true) {
      GENESIS_TRY(const bool more, select.step());
      if (!more) {
        return {};
      }
      // The newest moment of the group for what is limited, the oldest for what makes room.
      const std::int64_t begin = select.integer(0) * grain;
      cap.restore(clock.steady(), milliseconds(now_ms - begin), select.integer(1), 0);
      cap.restore(clock.steady(), milliseconds(now_ms - begin - grain + 1), 0, select.integer(2));
    }
  });
}

}  // namespace

Result<std::shared_ptr<router::ShareCap>> make_share_cap(
    const Config& config,
    const std::shared_ptr<router::ShareCap>& previous,
    const store::Database& database,
    const Clock& clock) {
  if (!config.commercial_cap) {
    return nullptr;
  }
  if (previous && previous->options() == *config.commercial_cap) {
    return previous;
  }
  auto cap = std::make_shared<router::ShareCap>(*config.commercial_cap);
  GENESIS_TRY_VOID(restore(*cap, database, clock));
  return cap;
}

}  // namespace genesis::app
