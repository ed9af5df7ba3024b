// JSON text to template values, every string marked with where it came from.
// Numbers and the order of members are kept exactly, which is why base/json.h is not used here.
#pragma once

#include "base/result.h"
#include "text/jinja/value.h"

#include <cstdint>
#include <string_view>

namespace genesis::text::jinja {

enum class JsonSource : std::uint8_t {
  kTrusted,   // the model's own values, such as bos_token
  kMessages,  // an array; every text knows its message and the field it came from
  kTools,
  kVariables,  // the client's
};

// `what` names the document in errors. Strict RFC 8259; integers beyond 127 bits are refused.
Result<Value> value_from_json(std::string_view json, std::string_view what, JsonSource source);

}  // namespace genesis::text::jinja
