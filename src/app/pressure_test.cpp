// The ladder: up at once, down with slack, and what each step refuses.
#include "app/pressure.h"

#include <gtest/gtest.h>

namespace genesis::app {
namespace {

PressureStage at(Pressure& pressure, double memory) {
  return pressure.update({.memory = memory});
}

TEST(Pressure, StagesBeginAtTheirMarks) {
  MetricsRegistry metrics;
  Pressure pressure(metrics);
  EXPECT_EQ(at(pressure, 0.5), PressureStage::kCalm);
  EXPECT_EQ(at(pressure, 0.849), PressureStage::kCalm);
  EXPECT_EQ(at(pressure, 0.85), PressureStage::kTight);
  EXPECT_EQ(at(pressure, 0.92), PressureStage::kHigh);
  EXPECT_EQ(at(pressure, 0.95), PressureStage::kSevere);
  EXPECT_EQ(at(pressure, 7.0), PressureStage::kSevere);
}

TEST(Pressure, AStageEndsOnlyWithSlack) {
  MetricsRegistry metrics;
  Pressure pressure(metrics);
  EXPECT_EQ(at(pressure, 0.93), PressureStage::kHigh);
  EXPECT_EQ(at(pressure, 0.91), PressureStage::kHigh);
  EXPECT_EQ(at(pressure, 0.88), PressureStage::kTight);
  EXPECT_EQ(at(pressure, 0.83), PressureStage::kTight);
  EXPECT_EQ(at(pressure, 0.81), PressureStage::kCalm);
  EXPECT_EQ(at(pressure, 0.84), PressureStage::kCalm) << "slack never raises a stage";
}

TEST(Pressure, TheHighestShareCounts) {
  MetricsRegistry metrics;
  Pressure pressure(metrics);
  EXPECT_EQ(pressure.update({.memory = 0.1, .ledger_queue = 0.96}), PressureStage::kSevere);
  EXPECT_EQ(pressure.update({.connections = 0.86}), PressureStage::kTight);
  EXPECT_EQ(pressure.update({.booking_wait = 3.0}), PressureStage::kTight) << "low priority only";
  EXPECT_EQ(pressure.update({.loop_lag = 0.2}), PressureStage::kCalm);
  const std::string text = metrics.expose();
  EXPECT_NE(text.find("genesis_pressure_component{kind=\"loop_lag\"} 0.2"), std::string::npos);
  EXPECT_NE(text.find("genesis_overload_stage 0"), std::string::npos);
}

TEST(Pressure, LowPriorityIsRefusedFirst) {
  MetricsRegistry metrics;
  Pressure pressure(metrics);
  EXPECT_TRUE(pressure.admits(true));
  at(pressure, 0.86);
  EXPECT_TRUE(pressure.admits(false));
  EXPECT_FALSE(pressure.admits(true));
  at(pressure, 0.93);
  const auto refused = pressure.admits(false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_TRUE(refused.error().retry_after);
  at(pressure, 0.5);
  EXPECT_TRUE(pressure.admits(true));
}

TEST(Pressure, TheProcessKnowsItsMemory) {
  const MemoryUse own = memory_use(100'000);
  EXPECT_GT(own.used, 1024 * 1024);
  EXPECT_EQ(own.limit, 100'000LL * 1024 * 1024);
  const MemoryUse found = memory_use(0);
  EXPECT_GT(found.used, 0);
  EXPECT_GT(found.limit, found.used);
}

}  // namespace
}  // namespace genesis::app
