// Shared by this room's tests: an in-process upstream, a recording sink, and one loop to run them
// on.
#pragma once

#include "api/chat.h"
#include "net/client.h"
#include "net/server.h"
#include "provider/openai.h"

#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::provider {

// "begin", then one line per delta: "0 text|reasoning|tools finish".
class RecordingSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy& served) override;
  Task<Result<void>> write(const ChatDelta& delta) override;

  CancelToken cancel_token() const override { return source.token(); }

  std::string text() const;

  std::vector<std::string> lines;
  std::vector<ChatDelta> deltas;
  CancelSource source;
  int refuse_after = -1;  // deltas taken before write() fails
};

std::string describe(const ChatDelta& delta);

class ProviderTest : public ::testing::Test {
 public:
  ~ProviderTest() override;

  // The upstream answers every request with this.
  void upstream(net::Handler handler);
  // A 200 event stream of these bytes, in pieces of `piece`, ended properly or cut.
  void stream(std::string bytes, bool cut = false, std::size_t piece = 1 << 20);
  void reply(int status, std::string body, net::Headers headers = json_headers());
  static net::Headers json_headers();

  Result<Usage> chat(const ChatRequest& request);
  // What is under test; OpenAiProvider unless a test says otherwise.
  virtual std::unique_ptr<ChatModel> make_provider();
  Task<void> sleep(std::chrono::milliseconds time);
  void spin(const std::function<bool()>& done);

  static ChatRequest question(bool streamed);

  boost::asio::io_context io{1};
  SystemClock clock;
  UpstreamOptions options;
  RecordingSink sink;
  std::vector<net::ServerRequest> seen;  // what the upstream was asked
  bool client_left = false;              // the upstream noticed that we hung up

 protected:
  net::Client& client() { return *client_; }

 private:
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<net::Client> client_;
};

// "data: ...\n\n" of a chat chunk with one choice 0.
std::string chunk(std::string_view delta, std::string_view rest = "");
std::string error_name(const Result<Usage>& result);

inline constexpr std::string_view kUsageChunk =
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10,"
    "\"prompt_tokens_details\":{\"cached_tokens\":4},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n";
inline constexpr std::string_view kDoneFrame = "data: [DONE]\n\n";

}  // namespace genesis::provider
