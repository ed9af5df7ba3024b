// Result<T> and Error: how every expected failure travels. Expected failures are values; broken
// invariants use GENESIS_CHECK (base/check.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace genesis {

// The closed list of failures. One table in `server` maps it to wire status, one in `cli` to exit
// codes.
enum class ErrorCode : std::uint8_t {
  kInvalidArgument,    // a field of the request is wrong; Error::param names it
  kContextLength,      // prompt plus output do not fit the model's context
  kPayloadTooLarge,    // body over the configured limit
  kUnauthenticated,    // no key, or an unknown one
  kPermissionDenied,   // a known key that may not do this
  kNotFound,           // unknown model, route, file
  kConflict,           // exists already, or changed underneath
  kUnsupported,        // well-formed, but not something we do
  kOverloaded,         // a bounded queue is full: try later
  kRateLimited,        // an upstream said 429
  kBudgetExhausted,    // money or quota used up
  kUnavailable,        // refused, reset, 5xx: another endpoint may do
  kTimeout,            // one of the budgets (connect, first token, between tokens, total) ran out
  kCancelled,          // the caller is gone
  kUpstream,           // an upstream answered with something we cannot use
  kDataLoss,           // hash, checksum or format does not match: integrity
  kResourceExhausted,  // memory, disk, KV blocks
  kConfig,             // genesis.toml or a flag
  kIo,                 // the operating system refused a file or socket operation
  kInternal,           // our fault
};

// Lower-case name as used in logs, JSON and the ledger, e.g. "context_length".
std::string_view error_code_name(ErrorCode code);

// What, why and next step of one failure. A plain value, copied and moved freely; holds no secrets.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;      // what happened and why, one sentence, fit for the user
  std::string hint;         // the next step or command, may be empty
  std::string param;        // field, option or file the message is about, may be empty
  std::string type;         // upstream's or dialect's own error type, may be empty
  int upstream_status = 0;  // HTTP status of the upstream that caused it, 0 if none
  std::optional<std::chrono::milliseconds> retry_after;

  // True when another endpoint, or the same one later, may well succeed.
  bool retryable() const;
};

template <typename T>
using Result = std::expected<T, Error>;

// Builds the unexpected side: `return fail(ErrorCode::kNotFound, "no model 'x'", "genesis ls");`
inline std::unexpected<Error> fail(ErrorCode code, std::string message, std::string hint = {}) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.hint = std::move(hint);
  return std::unexpected(std::move(error));
}

// As fail(), for a field of a request or a key of the configuration.
inline std::unexpected<Error> fail_param(std::string param,
                                         std::string message,
                                         ErrorCode code = ErrorCode::kInvalidArgument) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.param = std::move(param);
  return std::unexpected(std::move(error));
}

}  // namespace genesis

#define GENESIS_CONCAT_INNER(a, b) a##b
#define GENESIS_CONCAT(a, b) GENESIS_CONCAT_INNER(a, b)
#define GENESIS_TRY_IMPL(tmp, decl, ret, ...)    \
  auto tmp = (__VA_ARGS__);                      \
  if (!tmp) {                                    \
    ret std::unexpected(std::move(tmp).error()); \
  }                                              \
  decl = std::move(*tmp)
#define GENESIS_TRY_VOID_IMPL(tmp, ret, ...)     \
  if (auto tmp = (__VA_ARGS__); !tmp) {          \
    ret std::unexpected(std::move(tmp).error()); \
  }

// GENESIS_TRY(auto x, f()): declares x with f()'s value, or returns its error.
#define GENESIS_TRY(decl, ...) \
  GENESIS_TRY_IMPL(GENESIS_CONCAT(try_, __LINE__), decl, return, __VA_ARGS__)
// The same for Result<void>.
#define GENESIS_TRY_VOID(...) \
  GENESIS_TRY_VOID_IMPL(GENESIS_CONCAT(try_, __LINE__), return, __VA_ARGS__)
// The same inside coroutines.
#define GENESIS_CO_TRY(decl, ...) \
  GENESIS_TRY_IMPL(GENESIS_CONCAT(try_, __LINE__), decl, co_return, __VA_ARGS__)
#define GENESIS_CO_TRY_VOID(...) \
  GENESIS_TRY_VOID_IMPL(GENESIS_CONCAT(try_, __LINE__), co_return, __VA_ARGS__)
