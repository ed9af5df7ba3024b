// The one table from ErrorCode to wire: statuses, types and bodies of the OpenAI and TGI dialects.
//
// Shapes: OpenAI `{"error":{message,type,param,code}}`
// (platform.openai.com/docs/guides/error-codes), here with `request_id` and, where there is one,
// `hint`; TGI `{"error","error_type"}` (text-generation-inference router/src/server.rs,
// ErrorResponse), whose id is in x-request-id.
#pragma once

#include "base/result.h"
#include "net/http.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::server {

// Whose envelope an answer wears.
enum class Wire : std::uint8_t { kOpenAi, kTgi };

// Client closed the connection (nginx's number); logged and counted, never sent.
inline constexpr int kStatusClientGone = 499;

int error_status(ErrorCode code, Wire wire);

// The JSON object of an error: a whole response body, or the data of a stream's error event.
std::string error_body(const Error& error, Wire wire, std::string_view request_id);

// Retry-After (whole seconds, rounded up), retry-after-ms and x-should-retry, which the openai
// client obeys; WWW-Authenticate for a missing or wrong key.
void add_error_headers(const Error& error, net::Headers& headers);

// Body of a protocol-level refusal (400, 408, 413, 431), in the dialect that `path` belongs to;
// fits net::RefusalBody.
std::string refusal_body(int status, std::string_view message, std::string_view path);

}  // namespace genesis::server
