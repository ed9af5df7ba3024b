// GENESIS_CHECK: a broken invariant. Stays on in release builds; prints where and stops the
// process.
#pragma once

namespace genesis {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace genesis

#define GENESIS_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::genesis::check_failed(#condition, __FILE__, __LINE__))
