// One empty database of either engine, for suites that run on both.
#pragma once

#include "store/database.h"
#include "store/test_database.h"
#include "store/test_postgres.h"

#include <filesystem>
#include <string>

namespace genesis::store {

enum class Engine { kSqlite, kPostgres };

class TestStore {
 public:
  explicit TestStore(Engine engine)
      : url_(engine == Engine::kPostgres ? TestPostgres::shared().fresh_database() : "") {}

  // To open it, as the owner called `writer`.
  DatabaseOptions options(const std::string& writer = "first") const {
    return {.path = folder_ / "a.db", .url = url_, .writer = writer};
  }

  std::filesystem::path path() const { return folder_ / "a.db"; }

  bool is_sqlite() const { return url_.empty(); }

 private:
  TestFolder folder_;
  std::string url_;
};

// A suite of both engines: INSTANTIATE it OnSqlite and OnPostgres; the second name is what the
// build gives a process of its own (genesis_room's SERVER_TESTS).
class EngineTest : public testing::TestWithParam<Engine> {
 public:
  TestStore store{GetParam()};
};

}  // namespace genesis::store
