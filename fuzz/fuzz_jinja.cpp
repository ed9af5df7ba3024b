// Fuzz target: a chat template from a stranger, rendered over a fixed conversation with small
// limits. It renders or fails with an error; what it renders stays within the limits and marks
// whole ranges.
#include "base/check.h"
#include "text/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace {

// Sorted, disjoint, not empty, of whole characters.
template <typename Span>
void check_spans(const std::vector<Span>& spans, std::string_view text) {
  const auto between_characters = [&](std::size_t at) {
    return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
  };
  std::size_t at = 0;
  for (const Span& span : spans) {
    GENESIS_CHECK(span.begin >= at && span.begin < span.end && span.end <= text.size());
    GENESIS_CHECK(between_characters(span.begin) && between_characters(span.end));
    at = span.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kMessages =
      R"([{"role":"system","content":"Be <b>."},)"
      R"({"role":"user","content":" Hi \u00fc\n","n":[1,2.5]},)"
      R"({"role":"assistant","content":null,)"
      R"("tool_calls":[{"function":{"name":"f","arguments":{}}}]}])";
  constexpr std::string_view kModelValues = R"({"bos_token":"<s>","eos_token":"</s>"})";
  constexpr std::string_view kClientValues = R"({"x":{"b":1,"a":[true],"c":"\u00df"}})";
  const genesis::text::TemplateLimits limits{
      .steps = 20'000, .output_bytes = 64 * 1024, .range_items = 1'000, .depth = 32};
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto chat = genesis::text::ChatTemplate::parse(source, limits);
  if (!chat) {
    return 0;
  }
  const auto prompt = chat->render({.messages = kMessages,
                                    .model_values = kModelValues,
                                    .client_values = kClientValues,
                                    .now = 0,
                                    .mark_assistant = true});
  if (prompt) {
    GENESIS_CHECK(prompt->text.size() <= limits.output_bytes);
    check_spans(prompt->from_messages, prompt->text);
    check_spans(prompt->from_assistant, prompt->text);
    check_spans(prompt->sources, prompt->text);
  }
  return 0;
}
