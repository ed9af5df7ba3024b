#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace genesis {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(
      stderr, "genesis: broken invariant %s at %s:%d; please report this\n", condition, file, line);
  std::abort();
}

}  // namespace genesis
