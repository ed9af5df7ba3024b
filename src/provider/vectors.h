// What the dialects of embedding share: inputs written, vectors read. Internal.
#pragma once

#include "api/embed.h"
#include "base/json.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace genesis::provider {

// No model reads so many tokens in one request; larger counts are nonsense.
inline constexpr std::int64_t kMaxUsageTokens = 100'000'000;

// A list of texts, or of lists of token ids.
void write_inputs(JsonWriter& out, const EmbedInput& input);

// A list of finite numbers, or base64 of little-endian floats; never empty.
Result<std::vector<float>> read_vector(const boost::json::value& value);

// A finite number.
Result<float> read_float(const boost::json::value& value);

// kUpstream, naming the endpoint.
std::unexpected<Error> unusable_answer(std::string_view endpoint, const Error& why);

}  // namespace genesis::provider
