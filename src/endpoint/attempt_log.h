// AttemptLog: what was tried for one request, as the trace tells it and as the final error sums it
// up.
#pragma once

#include "api/routing.h"
#include "base/clock.h"
#include "base/result.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace genesis::endpoint {

// Lives as long as the request, on the io thread. Attempts may overlap, so each is named by its
// place.
class AttemptLog {
 public:
  // `trace` outlives this object.
  AttemptLog(RequestTrace& trace, const Clock& clock)
      : trace_(trace), clock_(clock), start_(clock.steady()) {}

  std::size_t begin(AttemptKind kind, std::uint32_t attempt, const EndpointSnapshot& endpoint);
  void first_token(std::size_t at);
  // An error that another endpoint may make good counts for summary().
  void end(std::size_t at, const Result<Usage>& result);
  // The attempt was called off by us: another one was faster, or it said something else.
  void called_off(std::size_t at, std::string outcome);

  bool any_failed() const { return !failed_.empty(); }

  // The error of the only attempt that failed, else kUnavailable with the list of attempts and the
  // shortest Retry-After.
  Error summary() const;

  std::int64_t elapsed_ms() const;

 private:
  RequestTrace& trace_;
  const Clock& clock_;
  SteadyTime start_;
  std::vector<std::pair<std::string, Error>> failed_;
};

}  // namespace genesis::endpoint
