// Who is asking and what for, from the headers of a request.
#pragma once

#include "api/chat.h"
#include "net/http.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::server {

// Longer than any id in use (two UUIDs with a prefix), short enough for labels and rows.
inline constexpr std::size_t kMaxCallerWord = 128;

// x-genesis-agent, x-genesis-task and x-genesis-session; `session_hint` or x-session-id where the
// last is missing. Our own headers must be plain words (letters, digits and ._:/@+-), else it is
// kInvalidArgument naming the header; a session told otherwise that is no such word becomes a
// digest of itself. `team` is left empty.
Result<Caller> read_caller(const net::Headers& headers, std::string_view session_hint);

// The header fields that go with the body to an upstream of the client's own dialect.
std::vector<std::pair<std::string, std::string>> read_native_headers(const net::Headers& headers,
                                                                     Dialect dialect);

}  // namespace genesis::server
