#include "server/errors.h"

#include "base/check.h"
#include "base/json.h"

#include <fmt/format.h>

#include <array>

namespace genesis::server {

namespace {

struct ErrorRow {
  ErrorCode code;
  int openai_status;
  std::string_view openai_type;
  std::string_view openai_code;
  int tgi_status;
  std::string_view tgi_type;
};

// huggingface_hub knows four error_type words (generation, incomplete_generation, overloaded,
// validation) and calls the rest unknown, so back-end failures of every kind say "generation".
constexpr std::array<ErrorRow, 20> kRows{{
    {ErrorCode::kInvalidArgument, 400, "invalid_request_error", "invalid_value", 422, "validation"},
    {ErrorCode::kContextLength,
     400,
     "invalid_request_error",
     "context_length_exceeded",
     422,
     "validation"},
    {ErrorCode::kPayloadTooLarge,
     413,
     "invalid_request_error",
     "payload_too_large",
     413,
     "validation"},
    {ErrorCode::kUnauthenticated,
     401,
     "authentication_error",
     "invalid_api_key",
     401,
     "authentication"},
    {ErrorCode::kPermissionDenied,
     403,
     "permission_error",
     "permission_denied",
     403,
     "permission_denied"},
    {ErrorCode::kNotFound, 404, "invalid_request_error", "not_found", 404, "not_found"},
    {ErrorCode::kConflict, 409, "invalid_request_error", "conflict", 409, "conflict"},
    {ErrorCode::kUnsupported, 400, "invalid_request_error", "unsupported", 422, "validation"},
    {ErrorCode::kOverloaded, 429, "server_overloaded", "overloaded", 429, "overloaded"},
    {ErrorCode::kRateLimited, 429, "rate_limit_error", "rate_limit_exceeded", 429, "overloaded"},
    {ErrorCode::kBudgetExhausted,
     429,
     "insufficient_quota",
     "insufficient_quota",
     429,
     "insufficient_quota"},
    {ErrorCode::kUnavailable, 503, "service_unavailable", "unavailable", 503, "generation"},
    {ErrorCode::kTimeout, 504, "timeout_error", "timeout", 504, "generation"},
    {ErrorCode::kCancelled,
     kStatusClientGone,
     "cancelled",
     "cancelled",
     kStatusClientGone,
     "cancelled"},
    {ErrorCode::kUpstream, 502, "upstream_error", "upstream_error", 424, "generation"},
    {ErrorCode::kDataLoss, 500, "server_error", "data_loss", 424, "generation"},
    {ErrorCode::kResourceExhausted,
     503,
     "server_overloaded",
     "resource_exhausted",
     503,
     "overloaded"},
    {ErrorCode::kConfig, 500, "server_error", "config", 500, "generation"},
    {ErrorCode::kIo, 500, "server_error", "io", 500, "generation"},
    {ErrorCode::kInternal, 500, "server_error", "internal", 500, "generation"},
}};

constexpr bool rows_in_enum_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].code) != i) {
      return false;
    }
  }
  return kRows.size() == static_cast<std::size_t>(ErrorCode::kInternal) + 1;
}

static_assert(rows_in_enum_order(), "one row per ErrorCode, in the order of the enum");

const ErrorRow& row_of(ErrorCode code) {
  const auto at = static_cast<std::size_t>(code);
  GENESIS_CHECK(at < kRows.size());
  return kRows[at];
}

// OpenAI clients branch on these two words when `model` is at fault.
std::string_view openai_code(const Error& error, const ErrorRow& row) {
  if (error.param == "model" && error.code == ErrorCode::kNotFound) {
    return "model_not_found";
  }
  if (error.param == "model" && error.code == ErrorCode::kPermissionDenied) {
    return "model_not_allowed";
  }
  return row.openai_code;
}

std::string openai_body(const Error& error, std::string_view request_id) {
  const ErrorRow& row = row_of(error.code);
  JsonWriter w;
  w.begin_object();
  w.key("error");
  w.begin_object();
  w.field("message", error.message);
  w.field("type", row.openai_type);
  if (error.param.empty()) {
    w.field_null("param");
  } else {
    w.field("param", error.param);
  }
  w.field("code", openai_code(error, row));
  if (!request_id.empty()) {
    w.field("request_id", request_id);
  }
  if (!error.hint.empty()) {
    w.field("hint", error.hint);
  }
  w.end_object();
  w.end_object();
  return w.take();
}

// Texts as in TGI's InferError (router/src/infer/mod.rs), which clients match on.
std::string tgi_message(const Error& error, std::string_view type) {
  if (error.code == ErrorCode::kOverloaded) {
    return "Model is overloaded";
  }
  std::string text;
  if (type == "validation") {
    text = "Input validation error: ";
  } else if (type == "generation") {
    text = "Request failed during generation: ";
  }
  text += error.message;
  if (!error.hint.empty()) {
    text += fmt::format(" ({})", error.hint);
  }
  return text;
}

}  // namespace

int error_status(ErrorCode code, Wire wire) {
  return wire == Wire::kTgi ? row_of(code).tgi_status : row_of(code).openai_status;
}

std::string error_body(const Error& error, Wire wire, std::string_view request_id) {
  if (wire == Wire::kOpenAi) {
    return openai_body(error, request_id);
  }
  const std::string_view type = row_of(error.code).tgi_type;
  JsonWriter w;
  w.begin_object();
  w.field("error", tgi_message(error, type));
  w.field("error_type", type);
  w.end_object();
  return w.take();
}

void add_error_headers(const Error& error, net::Headers& headers) {
  headers.set("x-should-retry", error.retryable() ? "true" : "false");
  if (error.code == ErrorCode::kUnauthenticated) {
    headers.set("WWW-Authenticate", "Bearer");
  }
  const bool comes_back = error.code == ErrorCode::kOverloaded ||
                          error.code == ErrorCode::kRateLimited ||
                          error.code == ErrorCode::kUnavailable;
  if (!error.retry_after && !comes_back) {
    return;
  }
  // One second where nobody knows better: long enough to calm a loop, short enough not to be felt.
  const std::int64_t wait = error.retry_after ? error.retry_after->count() : 1000;
  const std::int64_t ms = wait < 0 ? 0 : wait;
  headers.set("Retry-After", fmt::format("{}", ms / 1000 + (ms % 1000 > 0 ? 1 : 0)));
  headers.set("retry-after-ms", fmt::format("{}", ms));
}

std::string refusal_body(int status, std::string_view message, std::string_view path) {
  JsonWriter w;
  w.begin_object();
  if (path.starts_with("/generate")) {
    w.field("error", message);
    w.field("error_type", "validation");
    w.end_object();
    return w.take();
  }
  w.key("error");
  w.begin_object();
  w.field("message", message);
  w.field("type", "invalid_request_error");
  w.field_null("param");
  w.field("code", status == 413 ? "payload_too_large" : status == 408 ? "timeout" : "bad_request");
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace genesis::server
