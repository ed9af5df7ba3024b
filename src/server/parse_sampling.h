// The sampling words that OpenAI's two routes share.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

namespace genesis::server {

// Reads types and ranges of everything but the logprobs fields, which differ between the routes.
Result<Sampling> parse_openai_sampling(const boost::json::object& body);

}  // namespace genesis::server
