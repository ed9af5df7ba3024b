#include "server/errors.h"

#include "api/ledger.h"
#include "base/check.h"
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace genesis::server {

namespace {

// What one dialect says.
struct Word {
  int status;
  std::string_view type;
};

struct ErrorRow {
  ErrorCode code;
  Word openai;
  std::string_view openai_code;
  Word tgi;
  Word anthropic;
  Word tei;
};

constexpr int kGone = kStatusClientGone;

// huggingface_hub knows four of TGI's error_type words (generation, incomplete_generation,
// overloaded, validation) and calls the rest unknown, so back-end failures of every kind say
// "generation". Anthropic's words: docs.anthropic.com/en/api/errors; 529 is its overload, 402 its
// empty purse. TEI's set is closed (its router/src/lib.rs): "tokenizer" is 422, "validation" 413.
// clang-format off
constexpr std::array<ErrorRow, 20> kRows{{
    {ErrorCode::kInvalidArgument, {400, "invalid_request_error"}, "invalid_value",
     {422, "validation"}, {400, "invalid_request_error"}, {422, "validation"}},
    {ErrorCode::kContextLength, {400, "invalid_request_error"}, "context_length_exceeded",
     {422, "validation"}, {400, "invalid_request_error"}, {413, "validation"}},
    {ErrorCode::kPayloadTooLarge, {413, "invalid_request_error"}, "payload_too_large",
     {413, "validation"}, {413, "request_too_large"}, {413, "validation"}},
    {ErrorCode::kUnauthenticated, {401, "authentication_error"}, "invalid_api_key",
     {401, "authentication"}, {401, "authentication_error"}, {401, "authentication"}},
    {ErrorCode::kPermissionDenied, {403, "permission_error"}, "permission_denied",
     {403, "permission_denied"}, {403, "permission_error"}, {403, "permission_denied"}},
    {ErrorCode::kNotFound, {404, "invalid_request_error"}, "not_found",
     {404, "not_found"}, {404, "not_found_error"}, {404, "not_found"}},
    {ErrorCode::kConflict, {409, "invalid_request_error"}, "conflict",
     {409, "conflict"}, {409, "invalid_request_error"}, {409, "conflict"}},
    {ErrorCode::kUnsupported, {400, "invalid_request_error"}, "unsupported",
     {422, "validation"}, {400, "invalid_request_error"}, {422, "validation"}},
    {ErrorCode::kOverloaded, {429, "server_overloaded"}, "overloaded",
     {429, "overloaded"}, {529, "overloaded_error"}, {429, "overloaded"}},
    {ErrorCode::kRateLimited, {429, "rate_limit_error"}, "rate_limit_exceeded",
     {429, "overloaded"}, {429, "rate_limit_error"}, {429, "overloaded"}},
    {ErrorCode::kBudgetExhausted, {429, "insufficient_quota"}, "insufficient_quota",
     {429, "insufficient_quota"}, {402, "billing_error"}, {429, "insufficient_quota"}},
    {ErrorCode::kUnavailable, {503, "service_unavailable"}, "unavailable",
     {503, "generation"}, {503, "api_error"}, {503, "unhealthy"}},
    {ErrorCode::kTimeout, {504, "timeout_error"}, "timeout",
     {504, "generation"}, {504, "timeout_error"}, {504, "backend"}},
    {ErrorCode::kCancelled, {kGone, "cancelled"}, "cancelled",
     {kGone, "cancelled"}, {kGone, "cancelled"}, {kGone, "cancelled"}},
    {ErrorCode::kUpstream, {502, "upstream_error"}, "upstream_error",
     {424, "generation"}, {502, "api_error"}, {424, "backend"}},
    {ErrorCode::kDataLoss, {500, "server_error"}, "data_loss",
     {424, "generation"}, {500, "api_error"}, {424, "backend"}},
    {ErrorCode::kResourceExhausted, {503, "server_overloaded"}, "resource_exhausted",
     {503, "overloaded"}, {529, "overloaded_error"}, {503, "overloaded"}},
    {ErrorCode::kConfig, {500, "server_error"}, "config",
     {500, "generation"}, {500, "api_error"}, {500, "backend"}},
    {ErrorCode::kIo, {500, "server_error"}, "io",
     {500, "generation"}, {500, "api_error"}, {500, "backend"}},
    {ErrorCode::kInternal, {500, "server_error"}, "internal",
     {500, "generation"}, {500, "api_error"}, {500, "backend"}},
}};
// clang-format on

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

const Word& word_of(ErrorCode code, Wire wire) {
  const ErrorRow& row = row_of(code);
  switch (wire) {
    case Wire::kOpenAi:
      return row.openai;
    case Wire::kTgi:
      return row.tgi;
    case Wire::kAnthropic:
      return row.anthropic;
    case Wire::kTei:
      return row.tei;
  }
  return row.openai;
}

// OpenAI clients branch on two words when `model` is at fault; that money cannot be booked is for
// whoever runs the gateway. Only our own ledger is meant: an upstream's type is not passed on.
std::string_view openai_code(const Error& error, const ErrorRow& row) {
  if (error.param == "model" && error.code == ErrorCode::kNotFound) {
    return "model_not_found";
  }
  if (error.param == "model" && error.code == ErrorCode::kPermissionDenied) {
    return "model_not_allowed";
  }
  if (error.code == ErrorCode::kUnavailable && error.type == kLedgerUnavailable &&
      error.upstream_status == 0) {
    return kLedgerUnavailable;
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
  w.field("type", row.openai.type);
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

std::string with_hint(const Error& error) {
  return error.hint.empty() ? error.message : fmt::format("{} ({})", error.message, error.hint);
}

// Texts as in TGI's InferError (router/src/infer/mod.rs) and TEI's TextEmbeddingsError
// (core/src/lib.rs), which clients match on.
std::string hugging_face_message(const Error& error, Wire wire, std::string_view type) {
  if (error.code == ErrorCode::kOverloaded) {
    return "Model is overloaded";
  }
  std::string_view before;
  if (type == "validation" || type == kTeiEmpty) {
    before = "Input validation error: ";
  } else if (type == "generation") {
    before = "Request failed during generation: ";
  } else if (wire == Wire::kTei && type == "backend") {
    before = "Backend error: ";
  }
  return std::string(before) + with_hint(error);
}

std::string plain_body(std::string_view type, std::string_view message) {
  JsonWriter w;
  w.begin_object();
  w.field("error", message);
  w.field("error_type", type);
  w.end_object();
  return w.take();
}

std::string anthropic_object(std::string_view type,
                             std::string_view message,
                             std::string_view request_id) {
  JsonWriter w;
  w.begin_object();
  w.field("type", "error");
  w.key("error");
  w.begin_object();
  w.field("type", type);
  w.field("message", message);
  w.end_object();
  if (!request_id.empty()) {
    w.field("request_id", request_id);
  }
  w.end_object();
  return w.take();
}

std::string anthropic_body(const Error& error, std::string_view request_id) {
  // Agents recognise these words and shorten their history.
  const std::string_view before =
      error.code == ErrorCode::kContextLength ? "prompt is too long: " : "";
  return anthropic_object(
      row_of(error.code).anthropic.type, std::string(before) + with_hint(error), request_id);
}

}  // namespace

Wire wire_of(std::string_view path) {
  if (path.starts_with("/generate")) {
    return Wire::kTgi;
  }
  if (path.starts_with("/v1/messages")) {
    return Wire::kAnthropic;
  }
  constexpr std::array<std::string_view, 4> kTeiPaths{
      "/embed", "/rerank", "/predict", "/similarity"};
  return std::ranges::count(kTeiPaths, path) > 0 ? Wire::kTei : Wire::kOpenAi;
}

int error_status(const Error& error, Wire wire) {
  if (wire == Wire::kTei && error.type == kTeiEmpty) {
    return 400;
  }
  return word_of(error.code, wire).status;
}

std::string error_body(const Error& error, Wire wire, std::string_view request_id) {
  switch (wire) {
    case Wire::kOpenAi:
      return openai_body(error, request_id);
    case Wire::kAnthropic:
      return anthropic_body(error, request_id);
    case Wire::kTgi:
    case Wire::kTei:
      break;
  }
  std::string_view type = word_of(error.code, wire).type;
  if (wire == Wire::kTei && error.type == kTeiEmpty) {
    type = kTeiEmpty;
  }
  return plain_body(type, hugging_face_message(error, wire, type));
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
  switch (wire_of(path)) {
    case Wire::kTgi:
    case Wire::kTei:
      return plain_body("validation", message);
    case Wire::kAnthropic:
      return anthropic_object(
          status == 413 ? "request_too_large" : "invalid_request_error", message, "");
    case Wire::kOpenAi:
      break;
  }
  JsonWriter w;
  w.begin_object();
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
