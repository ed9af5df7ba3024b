// Which part of a request a run of rendered bytes came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace genesis::text {

enum class SourcePart : std::uint8_t {
  kRole,
  kContent,
  kReasoning,  // reasoning_content, reasoning, thinking
  kToolCalls,
  kOther,      // any other field of a message
  kTools,      // the tools offered; of no message
  kVariables,  // the client's own variables and documents; of no message
};

// A half-open byte range of the output whose bytes are text of the request.
struct SourceSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::optional<std::uint32_t> message;  // index into the messages
  SourcePart part = SourcePart::kOther;

  bool operator==(const SourceSpan&) const = default;
};

}  // namespace genesis::text
