// API keys as the server wants them: the pepper file, the Authenticator, and the check at dispatch.
#pragma once

#include "app/home.h"
#include "base/clock.h"
#include "base/result.h"
#include "endpoint/dispatcher.h"
#include "ledger/keys.h"
#include "server/gateway.h"

#include <memory>

namespace genesis::app {

// Opens the keys of `database`; makes the pepper file (mode 0600) at the first use.
Result<std::unique_ptr<ledger::KeyStore>> open_keys(store::Database& database,
                                                    const Clock& clock,
                                                    const Home& home);

// Lives on the io thread; `keys` outlives it.
class KeyAccess final : public server::Authenticator {
 public:
  KeyAccess(const ledger::KeyStore& keys, bool require_key)
      : keys_(keys), require_key_(require_key) {}

  Result<server::Principal> authenticate(std::optional<std::string_view> token) const override;
  bool knows(std::string_view token) const override;

  Task<Result<void>> learn() const override { return keys_.learn(); }

  void set_require_key(bool require_key) { require_key_ = require_key; }

  // The scope of the request's key against what will really serve it.
  Result<void> may_use(const ChatRequest& request, const endpoint::DispatchTarget& target) const;

 private:
  const ledger::KeyStore& keys_;
  bool require_key_;
};

}  // namespace genesis::app
