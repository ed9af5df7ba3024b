// Fuzzes the reader of OpenAI's streams and bodies; plain chunks are read twice, quickly and as a
// tree, and must say the same.
#include "provider/openai_response.h"
#include "provider/openai_scan.h"
#include "upstream_promises.h"

#include <cstdint>

namespace {

using namespace genesis;

void check_quick_reading(std::string_view bytes) {
  ChatRequest request;
  request.n = 2;
  const auto quick = provider::scan_openai_chunk(bytes, request.n);
  if (!quick) {
    return;
  }
  provider::OpenAiReader reader(request, "up");
  const auto tree = reader.read(bytes);
  fuzz::require(tree && tree->deltas.size() == 1 && !tree->error && !tree->usage);
  const ChatDelta& delta = tree->deltas.front();
  fuzz::require(delta.index == quick->delta.index && delta.text == quick->delta.text &&
                delta.reasoning == quick->delta.reasoning && delta.tool_calls_json.empty() &&
                delta.tokens.empty() && !delta.finish);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const SystemClock clock;
  const auto make = [&](const ChatRequest& request) {
    return provider::OpenAiAnswerReader(request, {.endpoint = "up", .raw = true}, clock);
  };
  fuzz::check_stream(bytes, ChatRequest(), make);
  fuzz::check_body(bytes, ChatRequest(), make);
  check_quick_reading(bytes);
  return 0;
}
