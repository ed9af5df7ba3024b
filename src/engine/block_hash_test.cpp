// Names of blocks: equal exactly where keys and values are.
#include "engine/block_hash.h"

#include <gtest/gtest.h>

#include <numeric>

namespace genesis::engine {

namespace {

std::vector<std::int32_t> tokens(std::size_t count) {
  std::vector<std::int32_t> out(count);
  std::iota(out.begin(), out.end(), 100);
  return out;
}

std::vector<BlockHash> names(std::string_view model,
                             std::string_view salt,
                             std::string_view adapter,
                             std::int32_t from,
                             std::span<const std::int32_t> text) {
  return BlockNamer(model, salt, adapter, from).name_all(text, 4);
}

TEST(BlockNamer, ABlockIsNamedWithAllBeforeIt) {
  const std::vector<std::int32_t> text = tokens(14);
  const std::vector<BlockHash> all = names("m", "s", "", 0, text);
  ASSERT_EQ(all.size(), 3U);
  for (std::size_t changed = 0; changed < 12; ++changed) {
    std::vector<std::int32_t> other = text;
    other[changed] += 1;
    const std::vector<BlockHash> some = names("m", "s", "", 0, other);
    for (std::size_t block = 0; block < 3; ++block) {
      EXPECT_EQ(some[block] == all[block], block < changed / 4) << changed << " " << block;
    }
  }
  EXPECT_EQ(names("m", "s", "", 0, std::span(text).first(8)).back(), all[1]);
}

TEST(BlockNamer, ModelsTenantsAndAdaptersHaveNothingInCommon) {
  const std::vector<std::int32_t> text = tokens(4);
  const BlockHash base = names("m", "s", "", 0, text)[0];
  EXPECT_NE(base, names("n", "s", "", 0, text)[0]);
  EXPECT_NE(base, names("m", "t", "", 0, text)[0]);
  EXPECT_NE(base, names("ms", "", "", 0, text)[0]);
  EXPECT_NE(base, names("m", "s", "a", 0, text)[0]);
  EXPECT_NE(names("m", "s", "b", 0, text)[0], names("m", "s", "a", 0, text)[0]);
}

TEST(BlockNamer, BeforeItsActivationAnAdapterSharesWithTheBase) {
  const std::vector<std::int32_t> text = tokens(16);
  const std::vector<BlockHash> base = names("m", "s", "", 0, text);
  const std::vector<BlockHash> late = names("m", "s", "a", 8, text);
  const std::vector<BlockHash> inside = names("m", "s", "a", 6, text);
  const std::vector<BlockHash> other = names("m", "s", "a", 7, text);
  EXPECT_EQ(late[0], base[0]);
  EXPECT_EQ(late[1], base[1]);
  EXPECT_NE(late[2], base[2]);
  EXPECT_EQ(inside[0], base[0]);
  EXPECT_NE(inside[1], base[1]);
  EXPECT_NE(inside[1], other[1]);
  EXPECT_NE(inside[2], other[2]);
  EXPECT_NE(inside[2], late[2]);
}

}  // namespace

}  // namespace genesis::engine
