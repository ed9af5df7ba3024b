#include "app/ready_line.h"

#include "base/json.h"

#include <fmt/format.h>

#include <cstdio>
#include <unistd.h>

namespace genesis::app {

namespace {

void print_line(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace

void print_gateway_ready(const ReadyGateway& ready) {
  if (::isatty(STDOUT_FILENO) != 0) {
    std::string text = fmt::format("genesis is ready.\n  base URL   {0}/v1\n", ready.url);
    if (!ready.admin_key.empty()) {
      text += fmt::format("  admin key  {}   (shown once; genesis key create makes more)\n",
                          ready.admin_key);
    }
    if (!ready.isa.empty()) {
      text += fmt::format("  kernels    {}\n", ready.isa);
    }
    text += fmt::format(
        "  try        curl {}/v1/chat/completions -H 'content-type: application/json' \\\n"
        "               -d "
        "'{{\"model\":\"{}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'",
        ready.url,
        ready.default_model);
    print_line(text);
    return;
  }
  JsonWriter writer;
  writer.begin_object();
  writer.field("event", "ready");
  writer.field("base_url", ready.url + "/v1");
  writer.field("url", ready.url);
  writer.field("pid", static_cast<std::int64_t>(::getpid()));
  if (ready.admin_key.empty()) {
    writer.field_null("admin_key");
  } else {
    writer.field("admin_key", ready.admin_key);
  }
  if (!ready.isa.empty()) {
    writer.field("isa", ready.isa);
  }
  writer.key("engines");
  writer.begin_array();
  for (const ReadyEngine& engine : ready.engines) {
    writer.begin_object();
    writer.field("name", engine.name);
    writer.field("pid", static_cast<std::int64_t>(engine.pid));
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  print_line(writer.str());
}

void print_engine_ready(const net::Address& address,
                        const std::string& model,
                        const std::string& isa) {
  if (::isatty(STDOUT_FILENO) != 0) {
    return;
  }
  JsonWriter writer;
  writer.begin_object();
  writer.field("event", "ready");
  writer.field("listen", address.to_string());
  writer.field("model", model);
  writer.field("isa", isa);
  writer.field("pid", static_cast<std::int64_t>(::getpid()));
  writer.end_object();
  print_line(writer.str());
}

}  // namespace genesis::app
