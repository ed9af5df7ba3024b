// Fuzzes what reads other programs' files: LiteLLM's YAML, whose result must load as a
// configuration, usage exports, and signed reports.
#include "app/import_litellm.h"
#include "app/import_usage.h"
#include "app/options.h"
#include "base/check.h"
#include "ledger/evidence.h"

#include <cstdint>
#include <string_view>

namespace {

using namespace genesis;

void litellm(std::string_view bytes) {
  const auto imported = app::import_litellm(bytes);
  if (imported) {
    // Whatever names the file had, none breaks out of its string.
    const auto read = app::read_config_text(imported->toml, "genesis.toml");
    GENESIS_CHECK(read.has_value());
    GENESIS_CHECK(imported->endpoints > 0 && imported->routes > 0);
  } else {
    GENESIS_CHECK(!imported.error().message.empty());
  }
}

void usage(std::string_view bytes) {
  const auto read = app::read_usage_export(
      bytes,
      {.prices = &ledger::PriceTable::defaults(), .price_as = {}, .now_ms = 1'764'000'000'000});
  if (!read) {
    GENESIS_CHECK(!read.error().message.empty());
    return;
  }
  const ledger::TokenPrice price{.input = 1, .cached_input = 1, .cache_write = 1, .output = 1};
  const auto report =
      app::project_usage(*read, {.cheap = {{"a", price}}, .general = {{"b", price}}});
  if (report) {
    GENESIS_CHECK(!app::usage_report_text(*report).empty());
    GENESIS_CHECK(!app::usage_report_json(*report).empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  litellm(bytes);
  usage(bytes);
  GENESIS_CHECK(!ledger::read_evidence(bytes));  // nobody guesses a signature
  return 0;
}
