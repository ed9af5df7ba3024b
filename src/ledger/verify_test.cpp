// Every changed bit of a row is found by the row checks alone; every changed bit of the file is
// found where the file is sealed.
#include "ledger/verify.h"

#include "base/random.h"
#include "ledger/test_ledger.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>

namespace genesis::ledger {

namespace {

void fill(const std::filesystem::path& path) {
  TestLedger t(path);
  for (int i = 0; i < 12; ++i) {
    const std::string id = "request-" + std::to_string(i);
    ASSERT_TRUE(t.reserve(reservation(id, 1, i % 5 == 4 ? "mystery-9" : "gpt-4o")));
    if (i % 3 == 0) {
      ASSERT_TRUE(t.void_attempt({id, 1}));
    } else {
      [[maybe_unused]] const auto posted =
          t.post({id, 1}, delivered({.input = 100 + i, .cached_input = 10, .output = 20 + i}));
    }
    ASSERT_TRUE(run_task(t.ledger->charge_machine(
        {.endpoint = "local", .start_ms = kNoon + 60'000 * i, .per_hour = 50'000'000})));
    t.clock.advance(std::chrono::seconds(9));
  }
}

TEST(Verify, AcceptsAnIntactLedger) {
  const TestFolder folder;
  fill(folder / "l.db");
  const auto report = verify(folder / "l.db");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->rows, 37);
  EXPECT_EQ(report->head_hash.size(), 64U);
  EXPECT_EQ(report->file.value().seal, store::SealState::kSealed);
  EXPECT_NE(verify_text(*report).find("ledger is intact: 37 rows"), std::string::npos);
  EXPECT_NE(verify_json(*report).find("\"seal\":\"sealed\""), std::string::npos);
  EXPECT_EQ(verify(folder / "none.db").error().code, ErrorCode::kNotFound);
}

TEST(Verify, WorksBesideARunningGateway) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  ASSERT_TRUE(t.reserve(reservation("r", 1)));
  const auto report = verify(folder / "l.db");
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->open_attempts, 1);
  EXPECT_GT(report->file.value().log_frames, 0);
}

constexpr std::array<std::string_view, 35> kColumns = {"seq",
                                                       "unix_ms",
                                                       "kind",
                                                       "request_id",
                                                       "attempt",
                                                       "tenant",
                                                       "key_id",
                                                       "route",
                                                       "endpoint",
                                                       "tier",
                                                       "model",
                                                       "input",
                                                       "cached_input",
                                                       "cache_write",
                                                       "output",
                                                       "reasoning",
                                                       "debit_account",
                                                       "credit_account",
                                                       "amount_nano",
                                                       "price_id",
                                                       "baseline_model",
                                                       "baseline_nano",
                                                       "baseline_price_id",
                                                       "finish",
                                                       "delivered",
                                                       "first_token_ms",
                                                       "total_ms",
                                                       "note",
                                                       "prev_hash",
                                                       "hash",
                                                       "format",
                                                       "writer",
                                                       "team",
                                                       "agent",
                                                       "disputed"};

struct Cell {
  store::ColumnType type = store::ColumnType::kNull;
  std::int64_t integer = 0;
  std::string bytes;
};

std::string column_sql(std::string_view before, std::string_view column, std::string_view after) {
  return std::string(before) + std::string(column) + std::string(after);
}

Result<Cell> read_cell(store::Transaction& tx, std::string_view column, std::int64_t seq) {
  Cell cell;
  GENESIS_TRY(store::Statement select,
              tx.prepare(column_sql("SELECT ", column, " FROM entries WHERE seq = ?1")));
  GENESIS_TRY(const bool row, select.bind(1, seq).step());
  cell.type = row ? select.type(0) : store::ColumnType::kNull;
  if (cell.type == store::ColumnType::kInteger) {
    cell.integer = select.integer(0);
  } else if (cell.type != store::ColumnType::kNull) {
    const auto blob = select.blob(0);
    cell.bytes.assign(blob.begin(), blob.end());
  }
  return cell;
}

// `row` is how the row is found: its rowid, which is its seq unless that is what changes.
Result<void> write_cell(store::Transaction& tx,
                        std::string_view column,
                        std::int64_t row,
                        const Cell& cell) {
  GENESIS_TRY(store::Statement update,
              tx.prepare(column_sql("UPDATE entries SET ", column, " = ?1 WHERE seq = ?2")));
  update.bind(2, row);
  if (cell.type == store::ColumnType::kInteger) {
    update.bind(1, cell.integer);
  } else if (cell.type == store::ColumnType::kText) {
    update.bind(1, cell.bytes);
  } else if (cell.type == store::ColumnType::kBlob) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(cell.bytes.data());
    update.bind_blob(1, {data, cell.bytes.size()});
  } else {
    update.bind_null(1);
  }
  return update.run();
}

Cell with_flipped_bit(Cell cell, Random& random) {
  if (cell.type == store::ColumnType::kInteger) {
    cell.integer ^= std::int64_t{1} << random.below(62);
  } else if (cell.type == store::ColumnType::kNull) {
    cell = {.type = store::ColumnType::kInteger};
  } else if (cell.bytes.empty()) {
    cell.bytes = "x";
  } else {
    char& byte = cell.bytes[random.below(cell.bytes.size())];
    byte = static_cast<char>(byte ^ (1 << random.below(8)));
  }
  return cell;
}

struct Tally {
  int tried = 0;
  int found = 0;
};

// Changes one bit of one cell, looks, and puts it back; a change that the table's own constraints
// refuse is not counted.
Result<void> try_one(store::Transaction& tx, Random& random, Tally& tally) {
  const std::string_view column = kColumns[random.below(kColumns.size())];
  const auto seq = static_cast<std::int64_t>(1 + random.below(37));
  GENESIS_TRY(const Cell before, read_cell(tx, column, seq));
  const Cell after = with_flipped_bit(before, random);
  if (!write_cell(tx, column, seq, after)) {
    return {};
  }
  const auto report = verify_rows(tx);
  const bool good = !report && report.error().code == ErrorCode::kDataLoss &&
                    report.error().param.starts_with("row ");
  EXPECT_TRUE(good) << "column " << column << " of row " << seq;
  tally.tried += 1;
  tally.found += good ? 1 : 0;
  return write_cell(tx, column, column == "seq" ? after.integer : seq, before);
}

TEST(Verify, FindsEachOfAThousandFlippedBitsInRows) {
  const TestFolder folder;
  fill(folder / "l.db");
  auto database = open_database(folder / "l.db");
  const std::uint64_t seed = 99;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Tally tally;
  // All in one transaction: what counts is the rows, not a thousand commits.
  const auto outcome = database->write_blocking([&](store::Transaction& tx) -> Result<void> {
    while (tally.tried < 1000) {
      GENESIS_TRY_VOID(try_one(tx, random, tally));
    }
    return {};
  });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(tally.found, 1000);
  EXPECT_TRUE(verify_rows(*database));
}

TEST(Verify, FindsMissingRowsAndChangedPrices) {
  const TestFolder folder;
  fill(folder / "l.db");
  auto database = open_database(folder / "l.db");
  const auto change = [&](std::string_view sql) {
    return database->write_blocking([&](store::Transaction& tx) -> Result<void> {
      GENESIS_TRY(store::Statement statement, tx.prepare(sql));
      return statement.run();
    });
  };
  ASSERT_TRUE(change("UPDATE prices SET input = input - 1 WHERE model = 'gpt-4o'"));
  EXPECT_EQ(verify_rows(*database).error().code, ErrorCode::kDataLoss);
  ASSERT_TRUE(change("UPDATE prices SET input = input + 1 WHERE model = 'gpt-4o'"));
  ASSERT_TRUE(verify_rows(*database));
  ASSERT_TRUE(change("DELETE FROM entries WHERE seq = 7"));
  EXPECT_EQ(verify_rows(*database).error().param, "row 7");
}

TEST(Verify, RowsThatWereTakenAwayStayMissing) {
  const TestFolder folder;
  fill(folder / "l.db");
  {
    const auto database = open_database(folder / "l.db");
    ASSERT_TRUE(database->write_blocking([&](store::Transaction& tx) -> Result<void> {
      GENESIS_TRY(store::Statement statement, tx.prepare("DELETE FROM entries WHERE seq > 3"));
      return statement.run();
    }));
  }
  fill(folder / "l.db");
  const auto database = open_database(folder / "l.db");
  EXPECT_EQ(verify_rows(*database).error().param, "row 4");
}

void flip(const std::filesystem::path& path, std::uint64_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
}

// Flips `count` random bits of the file, one at a time; how many verify() finds.
int found_in_file(const std::filesystem::path& path, int count, std::uint64_t seed) {
  const std::uint64_t bits = std::filesystem::file_size(path) * 8;
  Random random(seed);
  int found = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t bit = random.below(bits);
    flip(path, bit);
    found += verify(path) ? 0 : 1;
    flip(path, bit);
  }
  return found;
}

TEST(Verify, FindsAnyFlippedBitOfASealedFile) {
  const TestFolder folder;
  fill(folder / "l.db");
  EXPECT_EQ(found_in_file(folder / "l.db", 60, 5), 60);
  EXPECT_TRUE(verify(folder / "l.db"));
}

TEST(Verify, MeasuresWhatAnUnsealedFileHides) {
  const TestFolder folder;
  fill(folder / "l.db");
  std::filesystem::remove((folder / "l.db").string() + ".seal");
  const int found = found_in_file(folder / "l.db", 1000, 6);
  std::printf("unsealed: %d of 1000 random bits of the file found\n", found);
  // The rest are bytes no row uses: free space inside pages.
  EXPECT_GT(found, 100);
}

}  // namespace

}  // namespace genesis::ledger
