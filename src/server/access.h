// Who may call what: keys, and the browser guard of keyless loopback.
#pragma once

#include "base/result.h"
#include "net/server.h"
#include "server/gateway.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// The key a request carries: `Authorization: Bearer x` (scheme without case) or `x-api-key: x`; an
// empty one counts as none. Never read from the query, where it would end in logs. Another
// Authorization scheme is kUnauthenticated.
Result<std::optional<std::string>> request_token(const net::Headers& headers);

// True when a Host (or Origin without its scheme) is in the list, as written or without its port.
bool host_allowed(std::string_view host, const std::vector<std::string>& allowed);

// Decides one request. Public rows pass. Inference rows need a key when `require_key`; without it a
// request without key passes from a Unix socket or with a known Host and no foreign Origin (against
// DNS rebinding and cross-site posts), and a wrong key is still refused. Admin rows need an admin
// key; the metrics row an admin key or one of its own, unless it is open or no keys are required.
// `check_host` looks at the Host header before all that.
Result<Principal> authorize(Access access,
                            const net::ServerRequest& request,
                            const GatewayOptions& options,
                            const Authenticator& auth);

// kPermissionDenied on `model` when the key is limited to other names.
Result<void> check_model_scope(const Principal& principal, std::string_view model);

}  // namespace genesis::server
