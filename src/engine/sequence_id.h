// SequenceId: names one choice being generated, from submit to its last event.
#pragma once

#include <cstdint>

namespace genesis::engine {

// Grows with every submit, so a smaller id is an older sequence. Never reused within an engine.
using SequenceId = std::uint64_t;

}  // namespace genesis::engine
