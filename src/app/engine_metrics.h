// Mirrors an engine process's own figures into the gateway's metrics, so that one scrape shows the
// fleet.
#pragma once

#include "base/metrics.h"

#include <string_view>

namespace genesis::app {

// Takes every plain `genesis_engine_*` sample of a Prometheus text into `registry` as a gauge with
// the label endpoint="...". Histograms stay with the engine.
void mirror_engine_metrics(std::string_view text,
                           std::string_view endpoint,
                           MetricsRegistry& registry);

}  // namespace genesis::app
