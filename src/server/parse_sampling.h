// The sampling words that OpenAI's two routes share.
#pragma once

#include <boost/json/fwd.hpp>

#include "api/chat.h"
#include "base/result.h"

namespace genesis::server {

// Reads types and ranges of everything but the logprobs fields, which differ between the routes.
Result<Sampling> parse_openai_sampling(const boost::json::object& body);

}  // namespace genesis::server
