#include "cli/exit_codes.h"

#include <array>

namespace genesis::cli {

namespace {

// 75 and 78 are sysexits.h's EX_TEMPFAIL and EX_CONFIG; 130 and 143 are 128 + the signal.
constexpr std::array kTable = {
    ExitCode{kExitOk, "ok"},
    ExitCode{kExitFailure, "failure"},
    ExitCode{kExitUsage, "wrong usage of a command"},
    ExitCode{3, "not found (model, key, file)"},
    ExitCode{4, "authentication or permission"},
    ExitCode{5, "upstream or network"},
    ExitCode{6, "budget or quota exhausted"},
    ExitCode{kExitIntegrity, "integrity: a hash or the ledger does not match"},
    ExitCode{8, "resources: memory or disk"},
    ExitCode{kExitGate, "a gate failed"},
    ExitCode{75, "try again later"},
    ExitCode{kExitConfig, "configuration"},
    ExitCode{130, "interrupted (SIGINT)"},
    ExitCode{143, "terminated (SIGTERM)"},
};

}  // namespace

std::span<const ExitCode> exit_codes() {
  return kTable;
}

int exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kContextLength:
    case ErrorCode::kPayloadTooLarge:
    case ErrorCode::kUnsupported:
      return kExitUsage;
    case ErrorCode::kNotFound:
      return 3;
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kPermissionDenied:
      return 4;
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kUpstream:
      return 5;
    case ErrorCode::kBudgetExhausted:
      return 6;
    case ErrorCode::kDataLoss:
      return kExitIntegrity;
    case ErrorCode::kResourceExhausted:
      return 8;
    case ErrorCode::kOverloaded:
    case ErrorCode::kRateLimited:
      return 75;
    case ErrorCode::kConfig:
      return kExitConfig;
    case ErrorCode::kCancelled:
      return 130;
    case ErrorCode::kConflict:
    case ErrorCode::kIo:
    case ErrorCode::kInternal:
      return kExitFailure;
  }
  return kExitFailure;
}

}  // namespace genesis::cli
