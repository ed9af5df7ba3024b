#include "app/key_access.h"

#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxPepper = 4096;

// What people write where a client insists on a key and the server does not: the words of the
// documentation of vLLM, llama.cpp and Ollama, and ours.
bool is_placeholder(std::string_view token) {
  static constexpr std::array<std::string_view, 8> kWords = {
      "unused", "none", "no-key", "not-needed", "EMPTY", "ollama", "sk-no-key-required", "-"};
  return std::ranges::find(kWords, token) != kWords.end();
}

Result<bool> has_keys(const store::Database& database) {
  bool any = false;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select, tx.prepare("SELECT 1 FROM api_keys LIMIT 1"));
    GENESIS_TRY(any, select.step());
    return {};
  }));
  return any;
}

Result<std::string> read_or_make_pepper(const std::filesystem::path& path,
                                        const store::Database& database) {
  auto text = read_file(path, kMaxPepper);
  if (text || text.error().code != ErrorCode::kNotFound) {
    return text;
  }
  // A new pepper would turn every key that was handed out into a wrong one, without a word.
  GENESIS_TRY(const bool any, has_keys(database));
  if (any) {
    auto error =
        fail_param(path.string(),
                   fmt::format("{} is gone: the API keys cannot be checked", path.string()),
                   ErrorCode::kDataLoss);
    error.error().hint =
        "bring it back from a backup, or from the data folder of another gateway on this database";
    return error;
  }
  std::array<std::uint8_t, 32> bytes{};
  secure_random_bytes(bytes);
  GENESIS_TRY_VOID(write_file_atomic(path, to_hex(bytes), 0600));
  return read_file(path, kMaxPepper);
}

}  // namespace

Result<std::unique_ptr<ledger::KeyStore>> open_keys(store::Database& database,
                                                    const Clock& clock,
                                                    const Home& home) {
  GENESIS_TRY(std::string pepper, read_or_make_pepper(home.data / "key-pepper", database));
  return ledger::KeyStore::open(database, clock, std::move(pepper));
}

Result<server::Principal> KeyAccess::authenticate(std::optional<std::string_view> token) const {
  if (!token || (!require_key_ && is_placeholder(*token))) {
    if (require_key_) {
      return fail(ErrorCode::kUnauthenticated, "an API key is required", "genesis key create NAME");
    }
    return server::Principal{.key_id = std::string(server::kKeylessId),
                             .tenant = "default",
                             .team = {},
                             .admin = false,
                             .models = {},
                             .limits = {}};
  }
  auto key = keys_.authenticate(*token);
  if (!key) {
    if (!require_key_) {
      key.error().hint = "on this machine no key is needed: send none, or \"unused\"";
    }
    return std::unexpected(std::move(key.error()));
  }
  return server::Principal{.key_id = (*key)->id,
                           .tenant = (*key)->tenant,
                           .team = (*key)->team,
                           .admin = (*key)->admin,
                           .models = (*key)->models,
                           .limits = {.requests_per_minute = (*key)->limits.requests_per_minute,
                                      .tokens_per_minute = (*key)->limits.tokens_per_minute,
                                      .parallel = (*key)->limits.parallel}};
}

bool KeyAccess::knows(std::string_view token) const {
  return keys_.knows(token);
}

Result<void> KeyAccess::may_use(const ChatRequest& request,
                                const endpoint::DispatchTarget& target) const {
  const auto names = request.allowed_models;
  if (names == nullptr || names->empty()) {
    return {};
  }
  for (const std::string* name : {&request.route, &target.name, &target.model}) {
    if (std::ranges::find(*names, *name) != names->end()) {
      return {};
    }
  }
  return fail_param("model",
                    fmt::format("this key may not use '{}'", request.route),
                    ErrorCode::kPermissionDenied);
}

}  // namespace genesis::app
