// A finished request as OpenTelemetry spans in OTLP/JSON: one for the request, one for each attempt
// below it, with the GenAI attribute names. Pure functions; no prompts, answers or secrets.
#pragma once

#include "api/routing.h"

#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

// The spans of one request as JSON objects, separated by commas.
std::string otlp_spans(const RequestTrace& trace);

// The body of POST /v1/traces.
std::string otlp_body(const std::vector<std::string>& spans, std::string_view version);

// Whether a request's spans are sent: as the client's sampled flag says, else the share `ratio` of
// all, chosen by the trace id so that every process chooses the same.
bool is_sampled(const RequestTrace& trace, double ratio);

}  // namespace genesis::app
