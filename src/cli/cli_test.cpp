// Unit tests of what the terminal shows: tables, sizes, moments, exit codes.
#include "cli/exit_codes.h"
#include "cli/terminal.h"

#include <gtest/gtest.h>

#include <set>

namespace genesis::cli {
namespace {

TEST(Terminal, TablesAlign) {
  EXPECT_EQ(format_table({"A", "LONG"}, {{"value", "x"}, {"v", "y"}}),
            "A      LONG\nvalue  x\nv      y\n");
}

TEST(Terminal, ControlCharactersAreShownNotObeyed) {
  EXPECT_EQ(without_controls("a\x1b[2Jb\a\x7f\r\n\tc"), "a?[2Jb???\n\tc");
  EXPECT_EQ(without_controls("\xc2\x9b"
                             "31m\xc2\xa0\xc3\xa9"),
            "?31m\xc2\xa0\xc3\xa9");
}

TEST(Terminal, SizesAndAges) {
  EXPECT_EQ(format_bytes(98'362'432), "93.8 MiB");
  EXPECT_EQ(format_bytes(12), "12 B");
  EXPECT_EQ(format_age(0, 60'000), "1 minute ago");
  EXPECT_EQ(format_age(0, 3 * 86'400'000), "3 days ago");
}

TEST(Terminal, ReadsMoments) {
  EXPECT_EQ(*parse_since("7d", 1'000'000'000'000), 1'000'000'000'000 - 7LL * 86'400'000);
  EXPECT_EQ(*parse_since("1970-01-02", 5), 86'400'000);
  EXPECT_FALSE(parse_since("soon", 5));
  EXPECT_FALSE(parse_since("-3d", 5));
  EXPECT_FALSE(parse_since("7dx", 5));
}

TEST(ExitCodes, EveryErrorHasAListedCode) {
  std::set<int> listed;
  for (const ExitCode& entry : exit_codes()) {
    EXPECT_TRUE(listed.insert(entry.code).second) << entry.code << " is listed twice";
  }
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const int exit_code = exit_code_of(static_cast<ErrorCode>(code));
    EXPECT_TRUE(listed.contains(exit_code)) << exit_code;
    EXPECT_NE(exit_code, 0);
  }
  EXPECT_EQ(exit_code_of(ErrorCode::kDataLoss), 7);
  EXPECT_EQ(exit_code_of(ErrorCode::kConfig), 78);
}

}  // namespace
}  // namespace genesis::cli
