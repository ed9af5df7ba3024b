// How long-running steps tell how far they are.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace genesis::app {

// (phase, bytes done, bytes in all; 0 = unknown)
using OnProgress = std::function<void(std::string_view, std::int64_t, std::int64_t)>;

}  // namespace genesis::app
