// Fuzzes the reader of Anthropic's events and messages, for its own clients and for others.
#include "provider/anthropic_response.h"
#include "upstream_promises.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace genesis;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const SystemClock clock;
  const auto make = [&](const ChatRequest& request) {
    return provider::AnthropicReader(request, "up", clock);
  };
  for (const Dialect dialect : {Dialect::kAnthropic, Dialect::kOpenAiChat}) {
    ChatRequest request;
    request.dialect = dialect;
    fuzz::check_stream(bytes, request, make);
    fuzz::check_body(bytes, request, make);
  }
  return 0;
}
