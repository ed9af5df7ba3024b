// The error table: complete, and its bodies byte for byte.
#include "server/errors.h"

#include "api/ledger.h"
#include "base/json.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <set>

namespace genesis::server {
namespace {

Error make_error(ErrorCode code, std::string message) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

TEST(Errors, EveryCodeHasStatusAndWellFormedBodies) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    for (const Wire wire : {Wire::kOpenAi, Wire::kTgi, Wire::kAnthropic, Wire::kTei}) {
      SCOPED_TRACE(error_code_name(code));
      EXPECT_GE(error_status(make_error(code, "why"), wire), 400);
      EXPECT_LE(error_status(make_error(code, "why"), wire), 599);
      const auto body = parse_json(error_body(make_error(code, "why"), wire, "req-1"));
      ASSERT_TRUE(body);
      const auto& object = body->get_object();
      if (wire == Wire::kAnthropic) {
        EXPECT_EQ(object.at("type").as_string(), "error");
        EXPECT_TRUE(object.at("error").as_object().at("type").is_string());
        EXPECT_TRUE(object.at("error").as_object().at("message").is_string());
        EXPECT_EQ(object.at("request_id").as_string(), "req-1");
      } else if (wire != Wire::kOpenAi) {
        EXPECT_TRUE(object.at("error").is_string());
        EXPECT_TRUE(object.at("error_type").is_string());
      } else {
        const auto& error = object.at("error").get_object();
        const std::set<std::string> keys{"message", "type", "param", "code", "request_id"};
        for (const auto& member : error) {
          EXPECT_TRUE(keys.contains(std::string(member.key())));
        }
        EXPECT_EQ(error.size(), keys.size());
      }
    }
  }
}

TEST(Errors, OpenAiEnvelope) {
  Error error = make_error(ErrorCode::kInvalidArgument, "'n' must be between 1 and 8, not 9");
  error.param = "n";
  EXPECT_EQ(
      error_body(error, Wire::kOpenAi, "req-1"),
      R"({"error":{"message":"'n' must be between 1 and 8, not 9","type":"invalid_request_error",)"
      R"("param":"n","code":"invalid_value","request_id":"req-1"}})");
  error = make_error(ErrorCode::kUnauthenticated, "no key");
  error.hint = "genesis key create";
  EXPECT_EQ(error_body(error, Wire::kOpenAi, "req-1"),
            R"({"error":{"message":"no key","type":"authentication_error","param":null,)"
            R"("code":"invalid_api_key","request_id":"req-1","hint":"genesis key create"}})");
}

TEST(Errors, ModelHasItsOwnCodes) {
  Error error = make_error(ErrorCode::kNotFound, "no model 'x'");
  EXPECT_NE(error_body(error, Wire::kOpenAi, "").find(R"("code":"not_found")"), std::string::npos);
  error.param = "model";
  EXPECT_NE(error_body(error, Wire::kOpenAi, "").find(R"("code":"model_not_found")"),
            std::string::npos);
  error.code = ErrorCode::kPermissionDenied;
  EXPECT_NE(error_body(error, Wire::kOpenAi, "").find(R"("code":"model_not_allowed")"),
            std::string::npos);
}

TEST(Errors, AnAttemptThatCannotBeBookedHasItsOwnCode) {
  Error error = make_error(ErrorCode::kUnavailable, "no booking");
  error.type = kLedgerUnavailable;
  EXPECT_EQ(error_status(error, Wire::kOpenAi), 503);
  EXPECT_NE(error_body(error, Wire::kOpenAi, "").find(R"("code":"ledger_unavailable")"),
            std::string::npos);
  error.upstream_status = 503;
  EXPECT_NE(error_body(error, Wire::kOpenAi, "").find(R"("code":"unavailable")"), std::string::npos)
      << "an upstream that says the same word speaks of its own ledger";
}

TEST(Errors, TgiShapesThatItsClientsKnow) {
  EXPECT_EQ(
      error_body(
          make_error(ErrorCode::kInvalidArgument, "`inputs` cannot be empty"), Wire::kTgi, "req-1"),
      R"({"error":"Input validation error: `inputs` cannot be empty","error_type":"validation"})");
  EXPECT_EQ(error_body(make_error(ErrorCode::kOverloaded, "queue full"), Wire::kTgi, ""),
            R"({"error":"Model is overloaded","error_type":"overloaded"})");
  EXPECT_EQ(error_body(make_error(ErrorCode::kUpstream, "cut"), Wire::kTgi, ""),
            R"({"error":"Request failed during generation: cut","error_type":"generation"})");
  EXPECT_EQ(error_status(make_error(ErrorCode::kInvalidArgument, "why"), Wire::kTgi), 422);
  EXPECT_EQ(error_status(make_error(ErrorCode::kContextLength, "why"), Wire::kTgi), 422);
  EXPECT_EQ(error_status(make_error(ErrorCode::kContextLength, "why"), Wire::kOpenAi), 400);
  EXPECT_EQ(error_status(make_error(ErrorCode::kUpstream, "why"), Wire::kTgi), 424);
  EXPECT_EQ(error_status(make_error(ErrorCode::kOverloaded, "why"), Wire::kTgi), 429);
}

TEST(Errors, RetryHeadersRoundUpAndTellClientsWhatToDo) {
  Error error = make_error(ErrorCode::kRateLimited, "slow down");
  error.retry_after = std::chrono::milliseconds(1500);
  net::Headers headers;
  add_error_headers(error, headers);
  EXPECT_EQ(headers.get("Retry-After"), "2");
  EXPECT_EQ(headers.get("retry-after-ms"), "1500");
  EXPECT_EQ(headers.get("x-should-retry"), "true");

  net::Headers quota;
  add_error_headers(make_error(ErrorCode::kBudgetExhausted, "spent"), quota);
  EXPECT_EQ(quota.get("Retry-After"), std::nullopt);
  EXPECT_EQ(quota.get("x-should-retry"), "false");

  net::Headers overload;
  add_error_headers(make_error(ErrorCode::kOverloaded, "full"), overload);
  EXPECT_EQ(overload.get("Retry-After"), "1");

  net::Headers key;
  add_error_headers(make_error(ErrorCode::kUnauthenticated, "no key"), key);
  EXPECT_EQ(key.get("WWW-Authenticate"), "Bearer");
}

TEST(Errors, RefusalBodyIsInTheDialectOfThePath) {
  EXPECT_EQ(refusal_body(413, "too large", "/generate_stream"),
            R"({"error":"too large","error_type":"validation"})");
  EXPECT_EQ(refusal_body(413, "too large", ""),
            R"({"error":{"message":"too large","type":"invalid_request_error","param":null,)"
            R"("code":"payload_too_large"}})");
}

}  // namespace
}  // namespace genesis::server
