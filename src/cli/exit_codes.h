// Exit codes of every verb; `genesis help exit-codes` prints this table.
#pragma once

#include "base/result.h"

#include <span>
#include <string_view>

namespace genesis::cli {

struct ExitCode {
  int code;
  std::string_view meaning;
};

std::span<const ExitCode> exit_codes();
int exit_code_of(ErrorCode code);

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitIntegrity = 7;
inline constexpr int kExitGate = 9;
inline constexpr int kExitConfig = 78;

}  // namespace genesis::cli
