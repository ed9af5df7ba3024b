// Unit tests of the vocabulary: ranges and money text.
#include "api/chat.h"
#include "api/ledger.h"

#include <gtest/gtest.h>

#include <limits>

namespace genesis {
namespace {

TEST(Sampling, DefaultsAreValidAndRangesNameTheField) {
  Sampling sampling;
  EXPECT_TRUE(validate_sampling(sampling));
  sampling.top_p = 0;
  EXPECT_EQ(validate_sampling(sampling).error().param, "top_p");
  sampling = {};
  sampling.stop = {""};
  EXPECT_EQ(validate_sampling(sampling).error().param, "stop");
  sampling = {};
  sampling.logit_bias[7] = 101;
  EXPECT_EQ(validate_sampling(sampling).error().param, "logit_bias.7");
}

TEST(Money, FormatsPlainDecimals) {
  EXPECT_EQ(format_usd(0), "0.00");
  EXPECT_EQ(format_usd(1), "0.000000001");
  EXPECT_EQ(format_usd(-1'500'000'000), "-1.50");
  EXPECT_EQ(format_usd(std::numeric_limits<NanoUsd>::min()), "-9223372036.854775808");
}

TEST(Tier, NamesRoundTrip) {
  EXPECT_EQ(tier_from_name(tier_name(Tier::kManaged)), Tier::kManaged);
  EXPECT_FALSE(tier_from_name("free"));
}

}  // namespace
}  // namespace genesis
