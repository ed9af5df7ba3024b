// File descriptors: how many this process may have, and how many clients that allows.
#pragma once

#include <cstddef>

namespace genesis::app {

// Raises the soft limit (RLIMIT_NOFILE) to the hard one and returns what is allowed from then on.
// Many systems start programs with a soft limit of 1,024, which is for those that use select().
std::size_t raise_descriptor_limit();

// A stream needs a descriptor to its client and one to its upstream; what is left over is for the
// ledger, engines and logs, which must never find none.
std::size_t connections_within(std::size_t descriptors);

}  // namespace genesis::app
