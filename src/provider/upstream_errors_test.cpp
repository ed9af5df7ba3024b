// Status mapping, error shapes and Retry-After.
#include "provider/upstream_errors.h"

#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kNow = 784111777'000;  // Sun, 06 Nov 1994 08:49:37 GMT

Error mapped(int status, std::string_view body, const net::Headers& headers = {}) {
  return error_from_response(status, headers, body, "up", kNow);
}

TEST(OpenAiErrors, MapsEveryStatus) {
  const std::string_view body = R"({"error":{"message":"why","type":"t","code":"c","param":"p"}})";

  const struct {
    int status;
    ErrorCode code;
    bool retryable;
  } cases[] = {
      {400, ErrorCode::kInvalidArgument, false},
      {401, ErrorCode::kUpstream, true},
      {403, ErrorCode::kUpstream, true},
      {404, ErrorCode::kUpstream, true},
      {408, ErrorCode::kTimeout, true},
      {413, ErrorCode::kInvalidArgument, false},
      {418, ErrorCode::kUpstream, true},
      {422, ErrorCode::kInvalidArgument, false},
      {429, ErrorCode::kRateLimited, true},
      {500, ErrorCode::kUnavailable, true},
      {502, ErrorCode::kUnavailable, true},
      {503, ErrorCode::kUnavailable, true},
      {504, ErrorCode::kUnavailable, true},
      {529, ErrorCode::kUnavailable, true},
      {302, ErrorCode::kUpstream, true},
  };

  for (const auto& [status, code, retryable] : cases) {
    const Error error = mapped(status, body);
    EXPECT_EQ(error.code, code) << status;
    EXPECT_EQ(error.retryable(), retryable) << status;
    EXPECT_EQ(error.upstream_status, status);
  }
  EXPECT_EQ(mapped(400, body).message, "why");
  EXPECT_EQ(mapped(400, body).param, "p");
  EXPECT_EQ(mapped(400, body).type, "t");
  EXPECT_EQ(mapped(401, body).message, "endpoint 'up' refused our credentials (status 401)");
  EXPECT_EQ(mapped(404, "<html>").code, ErrorCode::kUpstream)
      << "a wrong url, not the client's fault";
  EXPECT_EQ(mapped(400, "").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(mapped(400, R"({"error":{"message":"no","param":"p","code":"unsupported"}})").code,
            ErrorCode::kUnsupported)
      << "another endpoint may have it";
}

TEST(OpenAiErrors, KeepsTheReasonsThatMatter) {
  const Error context = mapped(400,
                               R"({"error":{"message":"This model's maximum context length is 9",)"
                               R"("code":"context_length_exceeded"}})");
  EXPECT_EQ(context.code, ErrorCode::kContextLength);
  EXPECT_FALSE(context.retryable());
  EXPECT_EQ(
      mapped(400, R"({"object":"error","message":"maximum context length is 9","code":400})").code,
      ErrorCode::kContextLength);
  const Error policy = mapped(400,
                              R"({"error":{"message":"no","type":"invalid_request_error",)"
                              R"("code":"content_policy_violation"}})");
  EXPECT_EQ(policy.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(policy.type, "content_policy_violation");
  EXPECT_EQ(policy.message, "no");
  EXPECT_EQ(mapped(404, R"({"error":{"message":"no m","code":"model_not_found"}})").code,
            ErrorCode::kUpstream);
  const Error tgi =
      mapped(422, R"({"error":"Input validation error: x","error_type":"validation"})");
  EXPECT_EQ(tgi.message, "Input validation error: x");
  EXPECT_EQ(tgi.type, "validation");
}

TEST(OpenAiErrors, ReadsErrorsInsideStreams) {
  EXPECT_EQ(error_in_stream({.message = "m", .code = "429"}, "up").code, ErrorCode::kRateLimited);
  EXPECT_EQ(error_in_stream({.message = "m", .type = "rate_limit_exceeded"}, "up").code,
            ErrorCode::kRateLimited);
  EXPECT_EQ(error_in_stream({.message = "m", .type = "overloaded_error"}, "up").code,
            ErrorCode::kUnavailable);
  EXPECT_EQ(error_in_stream({.message = "m", .type = "server_error"}, "up").code,
            ErrorCode::kUnavailable);
  EXPECT_EQ(error_in_stream({.message = "m", .type = "invalid_request_error"}, "up").code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_in_stream({}, "up").code, ErrorCode::kUpstream);
}

TEST(OpenAiErrors, ReadsRetryAfter) {
  const auto after = [](std::string_view name, std::string_view value) {
    net::Headers headers;
    headers.add(name, value);
    return parse_retry_after(headers, kNow);
  };
  EXPECT_EQ(after("Retry-After", "2"), milliseconds(2000));
  EXPECT_EQ(after("retry-after", "0.25"), milliseconds(250));
  EXPECT_EQ(after("retry-after-ms", "1500"), milliseconds(1500));
  EXPECT_EQ(after("Retry-After", "Sun, 06 Nov 1994 08:49:47 GMT"), milliseconds(10'000));
  EXPECT_EQ(after("Retry-After", "Sun, 06 Nov 1994 08:49:27 GMT"), milliseconds(0));
  EXPECT_EQ(after("Retry-After", "-5"), milliseconds(0));
  EXPECT_EQ(after("Retry-After", "1e300"), milliseconds(kMaxRetryAfter));
  EXPECT_FALSE(after("Retry-After", "soon"));
  EXPECT_FALSE(after("Retry-After", "nan"));
  EXPECT_FALSE(after("Retry-After", "Sun, 99 Nov 1994 08:49:47 GMT"));
  EXPECT_FALSE(after("Retry-After", ""));
  net::Headers headers;
  headers.add("Retry-After", "3");
  EXPECT_EQ(mapped(503, "", headers).retry_after, milliseconds(3000));
  EXPECT_FALSE(mapped(400, "", headers).retry_after);
}

TEST(OpenAiErrors, RedactsTheKey) {
  std::string text = "Incorrect key sk-123; sk-123 is wrong";
  redact(text, "sk-123");
  EXPECT_EQ(text, "Incorrect key ***; *** is wrong");
  redact(text, "");
  EXPECT_EQ(text, "Incorrect key ***; *** is wrong");
}

}  // namespace
}  // namespace genesis::provider
