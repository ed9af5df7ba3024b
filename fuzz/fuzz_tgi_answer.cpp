// Fuzzes the reader of TGI's token events and bodies.
#include "provider/tgi_wire.h"
#include "upstream_promises.h"

#include <cstdint>
#include <memory>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace genesis;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const SystemClock clock;
  const auto make = [&](const ChatRequest& request) {
    return provider::TgiReader(request, "up", clock);
  };
  ChatRequest request;
  request.dialect = Dialect::kTgi;
  auto input = std::make_shared<ChatInput>();
  input->native = R"({"inputs":"x","parameters":{"details":true}})";
  request.input = std::move(input);
  fuzz::check_stream(bytes, request, make);
  fuzz::check_body(bytes, request, make);
  return 0;
}
