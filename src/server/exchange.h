// One request and its response on the way through the server, with the two ways to answer it whole.
#pragma once

#include "base/task.h"
#include "net/server.h"
#include "server/errors.h"
#include "server/gateway.h"
#include "server/request_record.h"

#include <string_view>

namespace genesis::server {

struct Exchange {
  const net::ServerRequest& request;
  net::ResponseWriter& response;
  Wire wire = Wire::kOpenAi;
  Principal principal;
  net::Headers rate;  // what the key's limits leave, for every answer
  RequestRecord record;
};

// A header value from elsewhere: visible ASCII only, so that it can end no header line.
std::string header_safe(std::string_view value);

// The fields every response has: id, type, and "do not cache, do not sniff".
net::Headers response_headers(const Exchange& x, std::string_view content_type);

// What the answer cost and saved, where that is known.
void add_bill_headers(const Bill& bill, net::Headers& headers);
// The fields that tell who served.
void add_served_headers(const ServedBy& served, net::Headers& headers);

// The error in the exchange's dialect, with retry headers; sets the record's status and finish.
net::EarlyAnswer error_answer(Exchange& x, const Error& error, const net::Headers& extra = {});

Task<void> send_json(Exchange& x, int status, std::string_view body);
// Sends error_answer().
Task<void> send_error(Exchange& x, const Error& error, net::Headers extra = {});

}  // namespace genesis::server
