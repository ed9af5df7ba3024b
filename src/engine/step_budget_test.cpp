// The budget follows what steps cost, within its bounds.
#include "engine/step_budget.h"

#include <gtest/gtest.h>

namespace genesis::engine {

namespace {

using Seconds = StepBudget::Seconds;

TEST(StepBudget, StartsCarefully) {
  EXPECT_EQ(StepBudget(Seconds(0.05), 32, 512).tokens(), 32);
}

TEST(StepBudget, IsWhatFitsBesideTheDecodes) {
  StepBudget budget(Seconds(0.05), 32, 512);
  budget.observe(512, 0, Seconds(0.1024));  // 0.2 ms a token
  EXPECT_EQ(budget.tokens(), 250);
  for (int i = 0; i < 50; ++i) {
    budget.observe(0, 8, Seconds(0.01));
  }
  EXPECT_NEAR(budget.tokens(), 200, 1);
  // Mixed steps tell the same.
  for (int i = 0; i < 50; ++i) {
    budget.observe(200, 8, Seconds(0.01 + 200 * 0.0004));
  }
  EXPECT_NEAR(budget.tokens(), 100, 2);
}

TEST(StepBudget, KeepsItsBounds) {
  StepBudget slow(Seconds(0.05), 32, 512);
  slow.observe(100, 0, Seconds(10));
  slow.observe(0, 8, Seconds(1));
  EXPECT_EQ(slow.tokens(), 32);
  StepBudget fast(Seconds(0.05), 32, 512);
  fast.observe(512, 0, Seconds(0.001));
  EXPECT_EQ(fast.tokens(), 512);
  StepBudget narrow(Seconds(0.05), 32, 8);  // steps smaller than a page
  EXPECT_EQ(narrow.tokens(), 8);
  narrow.observe(16, 0, Seconds(0.001));
  EXPECT_EQ(narrow.tokens(), 8);
}

TEST(StepBudget, AFewTokensSayNothing) {
  StepBudget budget(Seconds(0.05), 32, 512);
  budget.observe(2, 0, Seconds(0.02));
  EXPECT_EQ(budget.tokens(), 32);
}

}  // namespace

}  // namespace genesis::engine
