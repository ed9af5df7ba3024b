// The traceparent field: what the standard allows and what it does not.
#include "base/trace_context.h"

#include <gtest/gtest.h>

namespace genesis {
namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c";
const std::string kSpan = "b7ad6b7169203331";

TEST(TraceContext, ReadsWhatItWrites) {
  const auto read = parse_traceparent("00-" + kTrace + "-" + kSpan + "-01");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->trace_id, kTrace);
  EXPECT_EQ(read->span_id, kSpan);
  EXPECT_TRUE(read->sampled);
  EXPECT_EQ(read->to_string(), "00-" + kTrace + "-" + kSpan + "-01");
  EXPECT_FALSE(parse_traceparent("00-" + kTrace + "-" + kSpan + "-02")->sampled);
  EXPECT_TRUE(parse_traceparent("01-" + kTrace + "-" + kSpan + "-03-more")->sampled);
}

TEST(TraceContext, RefusesEverythingElse) {
  const std::string zeros(32, '0');
  for (const std::string& text : {std::string(),
                                  std::string("00"),
                                  "ff-" + kTrace + "-" + kSpan + "-01",
                                  "00-" + kTrace + "-" + kSpan + "-01-more",
                                  "01-" + kTrace + "-" + kSpan + "-01x",
                                  "00-" + zeros + "-" + kSpan + "-01",
                                  "00-" + kTrace + "-" + zeros.substr(16) + "-01",
                                  "00-" + kTrace + "-" + kSpan + "-0g",
                                  "00_" + kTrace + "-" + kSpan + "-01",
                                  "00-" + kTrace + "_" + kSpan + "-01",
                                  "00-" + kTrace + "-" + kSpan + "_01",
                                  "00-0AF7651916CD43DD8448EB211C80319C-" + kSpan + "-01",
                                  " 0-" + kTrace + "-" + kSpan + "-01"}) {
    EXPECT_FALSE(parse_traceparent(text)) << text;
  }
}

TEST(TraceContext, OwnIdsFollowFromTheRequest) {
  EXPECT_EQ(trace_id_of("req-1").size(), 32U);
  EXPECT_EQ(span_id_of("req-1", 1).size(), 16U);
  EXPECT_EQ(span_id_of("req-1", 1), span_id_of("req-1", 1));
  EXPECT_NE(span_id_of("req-1", 1), span_id_of("req-1", 2));
  EXPECT_NE(trace_id_of("req-1"), trace_id_of("req-2"));
}

}  // namespace
}  // namespace genesis
