// Fuzz target: a chat template from a stranger, rendered over a fixed conversation with small
// limits. It renders or fails with an error; what it renders stays within the limits and marks
// whole ranges.
#include "base/check.h"
#include "text/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kMessages =
      R"([{"role":"system","content":"Be <b>."},)"
      R"({"role":"user","content":" Hi \u00fc\n","n":[1,2.5]},)"
      R"({"role":"assistant","content":null,)"
      R"("tool_calls":[{"function":{"name":"f","arguments":{}}}]}])";
  constexpr std::string_view kExtra =
      R"({"bos_token":"<s>","eos_token":"</s>","x":{"b":1,"a":[true]}})";
  const genesis::text::TemplateLimits limits{
      .steps = 20'000, .output_bytes = 64 * 1024, .range_items = 1'000, .depth = 32};
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto chat = genesis::text::ChatTemplate::parse(source, limits);
  if (!chat) {
    return 0;
  }
  const auto prompt = chat->render(kMessages, "", kExtra, true);
  if (prompt) {
    GENESIS_CHECK(prompt->text.size() <= limits.output_bytes);
    std::size_t at = 0;
    for (const genesis::text::PlainSpan& span : prompt->from_messages) {
      GENESIS_CHECK(span.begin >= at && span.begin < span.end && span.end <= prompt->text.size());
      at = span.end;
    }
  }
  return 0;
}
