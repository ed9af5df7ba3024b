// Names of adapters, where an activated one begins, and that one in use outlives its name.
#include "engine/adapter_book.h"

#include "engine/collector.h"

#include <gtest/gtest.h>

namespace genesis::engine {

namespace {

TEST(ActivationPosition, IsTheLastInvocation) {
  const std::vector<std::int32_t> prompt{1, 5, 6, 2, 5, 6, 3};
  const std::vector<std::int32_t> tokens{5, 6};
  EXPECT_EQ(activation_position(prompt, tokens), 4);
  EXPECT_EQ(activation_position(prompt, std::vector<std::int32_t>{6, 5}), std::nullopt);
  EXPECT_EQ(activation_position(prompt, {}), 0);
  EXPECT_EQ(activation_position({}, tokens), std::nullopt);
}

TEST(AdapterBook, APromptWithoutTheInvocationIsForTheBaseAlone) {
  const AdapterInfo info{.id = 3, .content_hash = "c", .invocation = {5, 6}};
  const AdapterUse on = use_of(info, std::vector<std::int32_t>{1, 5, 6});
  EXPECT_EQ(on.id, 3);
  EXPECT_EQ(on.from, 1);
  EXPECT_EQ(on.content_hash, "c");
  const AdapterUse off = use_of(info, std::vector<std::int32_t>{1, 5, 7});
  EXPECT_EQ(off.id, 0);
  EXPECT_EQ(off.content_hash, "") << "it may share what the base computed";
}

TEST(AdapterBook, NamesAreCheckedAndReplaced) {
  AdapterBook book;
  for (const char* name : {"", "a b", "base", "\"x\"", "\n"}) {
    const auto checked = book.check_name(name, "base", true);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().param, "lora_name");
  }
  EXPECT_FALSE(book.check_name(std::string(200, 'a'), "base", true));
  ASSERT_TRUE(book.check_name("org/triage:v1", "base", false));
  EXPECT_EQ(book.put("triage", "/a", {.id = 1}), std::nullopt);
  EXPECT_EQ(book.check_name("triage", "base", false).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(book.check_name("triage", "base", true));
  EXPECT_EQ(book.put("triage", "/b", {.id = 2}), 1);
  ASSERT_EQ(book.list().size(), 1U);
  EXPECT_EQ(book.find("triage")->folder, "/b");
  EXPECT_EQ(book.take("triage"), 2);
  EXPECT_EQ(book.take("triage"), std::nullopt);
  EXPECT_EQ(book.find("triage"), nullptr);
}

GenerateRequest with_adapter(std::int32_t id, int max_tokens) {
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  request.sampling.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.adapter = {.id = id, .from = 0, .content_hash = "content"};
  return request;
}

TEST(EngineAdapters, OneInUseIsUnloadedWithItsLastRequest) {
  const auto control = std::make_shared<FakeControl>();
  MetricsRegistry metrics;
  Engine engine(std::make_unique<FakeRunner>(FakeShape{}, control), {}, metrics);
  const auto info = engine.load_adapter("any");
  ASSERT_TRUE(info);
  control->close_gate();
  const auto first = std::make_shared<Collector>();
  ASSERT_TRUE(engine.submit(with_adapter(info->id, 5), first->listener()));
  control->wait_until_at_gate();
  engine.unload_adapter(info->id);
  EXPECT_EQ(control->unloaded.load(), 0);
  const auto refused = engine.submit(with_adapter(info->id, 5), first->listener());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
  control->open_gate();
  EXPECT_EQ(first->wait().tokens.size(), 5U);
  EXPECT_EQ(control->unloaded.load(), 1);
}

TEST(EngineAdapters, ARequestForOneThatIsNotThereIsRefused) {
  MetricsRegistry metrics;
  Engine engine(
      std::make_unique<FakeRunner>(FakeShape{}, std::make_shared<FakeControl>()), {}, metrics);
  const auto listener = std::make_shared<Collector>();
  const auto refused = engine.submit(with_adapter(7, 5), listener->listener());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
}

}  // namespace

}  // namespace genesis::engine
