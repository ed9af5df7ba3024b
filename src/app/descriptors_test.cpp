// The descriptor limit of this process, and the connections that fit into it.
#include "app/descriptors.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

namespace genesis::app {
namespace {

TEST(Descriptors, TheSoftLimitBecomesTheHardOne) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 300;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_descriptor_limit(), static_cast<std::size_t>(before.rlim_max));
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
}

TEST(Descriptors, TwoForAClientAfterOurOwn) {
  EXPECT_EQ(connections_within(20'256), 10'000U);
  EXPECT_EQ(connections_within(0), 16U);
  EXPECT_EQ(connections_within(256), 16U);
}

}  // namespace
}  // namespace genesis::app
