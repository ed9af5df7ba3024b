// One SQL text in the words of PostgreSQL.
#include "store/dialect.h"

#include <gtest/gtest.h>

namespace genesis::store {

namespace {

TEST(Dialect, ParametersAreNumbered) {
  EXPECT_EQ(postgres_query("SELECT ?1, ?12 WHERE a=?2"), "SELECT $1, $12 WHERE a=$2");
}

TEST(Dialect, QuotedTextAndCommentsStay) {
  EXPECT_EQ(postgres_query("SELECT '?1 it''s ?2', \"?3\" -- ?4\n, ?5 /* ?6 */"),
            "SELECT '?1 it''s ?2', \"?3\" -- ?4\n, $5 /* ?6 */");
  EXPECT_EQ(postgres_query("SELECT 'open ?1"), "SELECT 'open ?1");
}

TEST(Dialect, TypesAreTranslatedInMigrationsOnly) {
  EXPECT_EQ(
      postgres_migration("CREATE TABLE a(n INTEGER, text TEXT, b BLOB, integers TEXT) WITHOUT "
                         "ROWID; INSERT INTO a VALUES('INTEGER')"),
      "CREATE TABLE a(n BIGINT, text TEXT COLLATE \"C\", b BYTEA, integers TEXT COLLATE \"C\")"
      "  ; INSERT INTO a VALUES('INTEGER')");
  EXPECT_EQ(postgres_query("SELECT CAST(a AS INTEGER)"), "SELECT CAST(a AS INTEGER)");
}

}  // namespace

}  // namespace genesis::store
