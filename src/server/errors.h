// The one table from ErrorCode to wire: statuses, types and bodies of every dialect.
//
// Shapes: OpenAI `{"error":{message,type,param,code}}`
// (platform.openai.com/docs/guides/error-codes), here with `request_id` and, where there is one,
// `hint`; TGI and TEI `{"error","error_type"}` (router/src/server.rs and router/src/lib.rs there,
// ErrorResponse), whose id is in x-request-id; Anthropic
// `{"type":"error","error":{type,message},"request_id"}` (docs.anthropic.com/en/api/errors).
#pragma once

#include "base/result.h"
#include "net/http.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::server {

// Whose envelope an answer wears.
enum class Wire : std::uint8_t { kOpenAi, kTgi, kAnthropic, kTei };

// The dialect that a path belongs to, for refusals that come before the router table.
Wire wire_of(std::string_view path);

// Error::type of a batch without a text, which TEI tells apart by a word and status of its own.
inline constexpr std::string_view kTeiEmpty = "empty";

// Client closed the connection (nginx's number); logged and counted, never sent.
inline constexpr int kStatusClientGone = 499;

int error_status(const Error& error, Wire wire);

// The JSON object of an error: a whole response body, or the data of a stream's error event.
std::string error_body(const Error& error, Wire wire, std::string_view request_id);

// Retry-After (whole seconds, rounded up), retry-after-ms and x-should-retry, which the openai
// client obeys; WWW-Authenticate for a missing or wrong key.
void add_error_headers(const Error& error, net::Headers& headers);

// Body of a protocol-level refusal (400, 408, 413, 431), in the dialect that `path` belongs to;
// fits net::RefusalBody.
std::string refusal_body(int status, std::string_view message, std::string_view path);

}  // namespace genesis::server
