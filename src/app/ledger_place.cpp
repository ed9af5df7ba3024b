#include "app/ledger_place.h"

#include "app/config_read.h"
#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "ledger/schema.h"
#include "store/file_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace genesis::app {

namespace {

constexpr std::size_t kWriterIdBytes = 8;
// A command may sum up millions of rows; a gateway must not wait so long.
constexpr std::chrono::minutes kReportTime{10};

Result<std::string> writer_id(const Home& home) {
  const std::filesystem::path path = home.data / "writer-id";
  auto text = read_file(path, 1024);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    std::array<std::uint8_t, kWriterIdBytes> bytes{};
    secure_random_bytes(bytes);
    GENESIS_TRY_VOID(write_file_atomic(path, to_hex(bytes), 0600));
    text = read_file(path, 1024);
  }
  GENESIS_TRY(std::string id, std::move(text));
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (id.size() != 2 * kWriterIdBytes || !std::ranges::all_of(id, is_hex)) {
    return fail_param(path.string(),
                      fmt::format("{} must hold {} hexadecimal digits and nothing else",
                                  path.string(),
                                  2 * kWriterIdBytes),
                      ErrorCode::kConfig);
  }
  return id;
}

}  // namespace

Result<store::DatabaseOptions> ledger_place(const Config& config,
                                            const Home& home,
                                            store::OpenMode mode) {
  store::DatabaseOptions options{
      .path = config.ledger_path, .mode = mode, .schemas = {ledger::schema()}};
  if (config.database_url.empty()) {
    return options;
  }
  options.url = config.database_url;
  if (!config.database_password_source.empty()) {
    GENESIS_TRY(options.password,
                read_secret(config.database_password_source, "ledger.database_password"));
  }
  if (mode == store::OpenMode::kOwner) {
    GENESIS_TRY(options.writer, writer_id(home));
  } else {
    options.reply_timeout = kReportTime;
  }
  return options;
}

std::string ledger_name(const Config& config) {
  return config.database_url.empty() ? config.ledger_path.string() : config.database_shown;
}

Result<void> require_ledger(const Config& config) {
  if (!config.database_url.empty()) {
    return {};
  }
  auto there = store::require_database(config.ledger_path);
  if (!there && there.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no ledger at {} yet", config.ledger_path.string()),
                "genesis serve, or genesis run \"...\", starts one");
  }
  return there;
}

}  // namespace genesis::app
