// Open-loop load: sends chat requests at a fixed rate over kept-alive connections and prints
// latency percentiles as one JSON line. Latency counts from the moment a request was due, so a slow
// server cannot hide behind a slow client (coordinated omission).
//
//   load_client --url http://127.0.0.1:8080/v1 --model auto --rate 200 --requests 2000 --bytes 1024
#include "base/clock.h"
#include "base/json.h"
#include "net/client.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace genesis;

struct Options {
  std::map<std::string, std::string> values = {{"url", ""},
                                               {"model", "auto"},
                                               {"rate", "200"},
                                               {"requests", "1000"},
                                               {"bytes", "1024"},
                                               {"header", ""}};

  std::string text(const std::string& name) const { return values.at(name); }

  int number(const std::string& name) const {
    int value = 0;
    const std::string& digits = values.at(name);
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  }
};

// "name: value" fields, one a line.
void add_headers(std::string_view lines, net::Headers& headers) {
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    const std::size_t colon = line.find(": ");
    if (colon != std::string_view::npos) {
      headers.set(line.substr(0, colon), line.substr(colon + 2));
    }
  }
}

std::string chat_body(const std::string& model, std::size_t bytes) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("model", model);
  writer.key("messages");
  writer.begin_array();
  writer.begin_object();
  writer.field("role", "user");
  std::string text;
  while (text.size() < bytes) {
    text += "word ";
  }
  text.resize(bytes);
  writer.field("content", text);
  writer.end_object();
  writer.end_array();
  writer.field("max_tokens", std::int64_t{16});
  writer.end_object();
  return writer.take();
}

class Load {
 public:
  Load(const Options& options, net::BaseUrl base)
      : options_(options),
        base_(std::move(base)),
        body_(chat_body(options.text("model"), static_cast<std::size_t>(options.number("bytes")))),
        client_(io_.get_executor(),
                {.connect_timeout = std::chrono::seconds(5), .idle_per_origin = 1024}) {}

  void run() {
    boost::asio::co_spawn(io_, pace(), boost::asio::detached);
    io_.run();
  }

  void print() {
    std::ranges::sort(latencies_ms_);
    JsonWriter writer;
    writer.begin_object();
    writer.field("requests", static_cast<std::int64_t>(latencies_ms_.size()));
    writer.field("failed", failed_);
    writer.field_number("p50_ms", percentile(0.50));
    writer.field_number("p90_ms", percentile(0.90));
    writer.field_number("p99_ms", percentile(0.99));
    writer.field_number("max_ms", percentile(1.0));
    writer.field_number("seconds", seconds_);
    writer.end_object();
    std::puts(writer.str().c_str());
  }

 private:
  double percentile(double share) const {
    if (latencies_ms_.empty()) {
      return 0;
    }
    const auto last = static_cast<double>(latencies_ms_.size() - 1);
    return latencies_ms_[static_cast<std::size_t>(std::lround(share * last))];
  }

  Task<void> pace() {
    const int total = options_.number("requests");
    const std::chrono::duration<double> gap(1.0 / options_.number("rate"));
    const SteadyTime start = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    boost::asio::steady_timer timer(io_);
    for (int i = 0; i < total; ++i) {
      const SteadyTime due = start + std::chrono::duration_cast<SteadyTime::duration>(gap * i);
      timer.expires_at(due);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      boost::asio::co_spawn(io_, one(due), boost::asio::detached);
    }
    while (static_cast<int>(latencies_ms_.size()) + failed_ < total) {
      timer.expires_after(std::chrono::milliseconds(5));
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    io_.stop();
  }

  Task<void> one(SteadyTime due) {
    net::ClientRequest request{.method = "POST",
                               .base = base_,
                               .target = "/chat/completions",
                               .headers = {},
                               .body = body_};
    request.headers.set("content-type", "application/json");
    add_headers(options_.text("header"), request.headers);
    auto response = co_await client_.send(std::move(request), {});
    const bool ok =
        response && (*response)->status() == 200 && co_await net::read_body(**response, 1 << 20);
    if (!ok) {
      ++failed_;
      co_return;
    }
    const auto took = std::chrono::steady_clock::now() - due;
    latencies_ms_.push_back(std::chrono::duration<double, std::milli>(took).count());
  }

  const Options& options_;
  net::BaseUrl base_;
  std::string body_;
  boost::asio::io_context io_{1};
  net::Client client_;
  std::vector<double> latencies_ms_;
  std::int64_t failed_ = 0;
  double seconds_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (!name.starts_with("--") || !options.values.contains(name.substr(2))) {
      fmt::print(stderr, "load_client: unknown flag {}\n", name);
      return 2;
    }
    options.values[name.substr(2)] = argv[i + 1];
  }
  auto base = genesis::net::parse_base_url(options.text("url"));
  if (!base || options.number("rate") <= 0 || options.number("requests") <= 0) {
    fmt::print(stderr,
               "load_client: needs --url http://host:port/v1, a positive --rate and --requests\n");
    return 2;
  }
  Load load(options, std::move(*base));
  load.run();
  load.print();
  return 0;
}
