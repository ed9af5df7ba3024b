// The gateway process: a graph, a listener in front of it, signals, drain.
#pragma once

#include "app/home.h"
#include "app/progress.h"
#include "app/reloader.h"
#include "base/result.h"

namespace genesis::app {

// Serves until SIGTERM or SIGINT; a second signal ends at once. Returns 0, or 128 + the second
// signal. SIGHUP reads the configuration again. Refuses to bind beyond loopback when no key exists.
Result<int> serve(const ConfigSource& source, const Home& home, const OnProgress& progress);

}  // namespace genesis::app
