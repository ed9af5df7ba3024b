// GET /openapi.json: the router table as an OpenAPI 3.1 document, so that it cannot leave a route
// out.
#pragma once

#include "server/gateway.h"

#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

std::string openapi_json(const std::vector<RouteRow>& routes, std::string_view version);

}  // namespace genesis::server
