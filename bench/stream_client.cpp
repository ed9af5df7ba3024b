// Many event streams at once: opens them at a fixed rate, reads each to its end and prints one JSON
// line: first-token and between-token times, and what was lost, doubled or out of order. The mock
// upstream numbers its words ("The0 fleet1 ..."), so the order can be checked word by word.
//
//   stream_client --url http://127.0.0.1:8080/v1 --model m --streams 1000 --opens 500 --words 60
//
// Prints "open" on a line of its own when every stream has had its first token, so that a driver
// can look at the memory of the peer at that moment.
#include "base/clock.h"
#include "base/json.h"
#include "net/client.h"
#include "net/sse.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <sys/resource.h>
#include <vector>

namespace {

using namespace genesis;

struct Options {
  std::map<std::string, std::string> values = {{"url", ""},
                                               {"model", "auto"},
                                               {"streams", "1000"},
                                               {"opens", "500"},
                                               {"words", "60"},
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

double milliseconds_since(SteadyTime start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// The number at the end of a word of the mock's answer, -1 if there is none.
int word_number(std::string_view word) {
  const std::size_t digits = word.find_last_not_of("0123456789") + 1;
  int value = -1;
  std::from_chars(word.data() + digits, word.data() + word.size(), value);
  return value;
}

struct Totals {
  std::vector<double> first_ms;
  std::vector<double> gap_ms;
  int failed = 0;
  int incomplete = 0;
  int disordered = 0;
  int begun = 0;
  int ended = 0;
};

// One answer as it arrives.
class Answer {
 public:
  explicit Answer(Totals& totals) : totals_(totals), started_(std::chrono::steady_clock::now()) {}

  void take(const net::SseEvent& event) {
    if (event.data == "[DONE]") {
      done_ = true;
      return;
    }
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(event.data, error);
    const auto* content = error ? nullptr : value.find_pointer("/choices/0/delta/content", error);
    if (content == nullptr || !content->is_string() || content->get_string().empty()) {
      return;
    }
    note_time();
    in_order_ = in_order_ && word_number(content->get_string()) == next_;
    ++next_;
  }

  void end(bool clean, int words) {
    ++totals_.ended;
    totals_.failed += clean ? 0 : 1;
    totals_.incomplete += clean && (!done_ || next_ != words) ? 1 : 0;
    totals_.disordered += in_order_ ? 0 : 1;
  }

 private:
  void note_time() {
    if (next_ == 0) {
      ++totals_.begun;
      totals_.first_ms.push_back(milliseconds_since(started_));
    } else {
      totals_.gap_ms.push_back(milliseconds_since(last_));
    }
    last_ = std::chrono::steady_clock::now();
  }

  Totals& totals_;
  SteadyTime started_;
  SteadyTime last_;
  int next_ = 0;
  bool done_ = false;
  bool in_order_ = true;
};

std::string chat_body(const std::string& model) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("model", model);
  writer.field_raw("messages", R"([{"role":"user","content":"Tell me."}])");
  writer.field_bool("stream", true);
  writer.end_object();
  return writer.take();
}

class Streams {
 public:
  Streams(const Options& options, net::BaseUrl base)
      : options_(options),
        base_(std::move(base)),
        body_(chat_body(options.text("model"))),
        client_(io_.get_executor(), {.connect_timeout = std::chrono::seconds(20)}) {}

  void run() {
    boost::asio::co_spawn(io_, open_all(), boost::asio::detached);
    io_.run();
  }

  void print() {
    JsonWriter writer;
    writer.begin_object();
    writer.field("streams", std::int64_t{options_.number("streams")});
    writer.field("failed", std::int64_t{totals_.failed});
    writer.field("incomplete", std::int64_t{totals_.incomplete});
    writer.field("disordered", std::int64_t{totals_.disordered});
    writer.field_number("first_p50_ms", percentile(totals_.first_ms, 0.50));
    writer.field_number("first_p99_ms", percentile(totals_.first_ms, 0.99));
    writer.field_number("gap_p50_ms", percentile(totals_.gap_ms, 0.50));
    writer.field_number("gap_p99_ms", percentile(totals_.gap_ms, 0.99));
    writer.end_object();
    std::puts(writer.str().c_str());
  }

 private:
  static double percentile(std::vector<double>& values, double share) {
    if (values.empty()) {
      return 0;
    }
    const auto at =
        static_cast<std::ptrdiff_t>(std::lround(share * static_cast<double>(values.size() - 1)));
    std::ranges::nth_element(values, values.begin() + at);
    return values[static_cast<std::size_t>(at)];
  }

  Task<void> open_all() {
    const int total = options_.number("streams");
    const std::chrono::duration<double> gap(1.0 / options_.number("opens"));
    const SteadyTime start = std::chrono::steady_clock::now();
    boost::asio::steady_timer timer(io_);
    for (int i = 0; i < total; ++i) {
      timer.expires_at(start + std::chrono::duration_cast<SteadyTime::duration>(gap * i));
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      boost::asio::co_spawn(io_, one(), boost::asio::detached);
    }
    bool told = false;
    while (totals_.ended < total) {
      if (!told && totals_.begun + totals_.failed >= total) {
        told = true;
        std::puts("open");
        std::fflush(stdout);
      }
      timer.expires_after(std::chrono::milliseconds(20));
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    io_.stop();
  }

  Task<void> one() {
    Answer answer(totals_);
    const bool clean = co_await read_all(answer);
    answer.end(clean, options_.number("words"));
  }

  // True when the stream ended properly.
  Task<bool> read_all(Answer& answer) {
    net::ClientRequest request{.method = "POST",
                               .base = base_,
                               .target = "/chat/completions",
                               .headers = {},
                               .body = body_};
    request.headers.set("content-type", "application/json");
    add_headers(options_.text("header"), request.headers);
    auto response = co_await client_.send(std::move(request), {});
    if (!response || (*response)->status() != 200) {
      co_return false;
    }
    net::SseReader reader;
    for (;;) {
      const auto piece = co_await (*response)->read_some();
      if (!piece || !*piece) {
        co_return piece.has_value();
      }
      const auto events = reader.push(**piece);
      if (!events) {
        co_return false;
      }
      for (const net::SseEvent& event : *events) {
        answer.take(event);
      }
    }
  }

  const Options& options_;
  net::BaseUrl base_;
  std::string body_;
  boost::asio::io_context io_{1};
  net::Client client_;
  Totals totals_;
};

// A descriptor a stream, and some.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (!name.starts_with("--") || !options.values.contains(name.substr(2))) {
      fmt::print(stderr, "stream_client: unknown flag {}\n", name);
      return 2;
    }
    options.values[name.substr(2)] = argv[i + 1];
  }
  auto base = genesis::net::parse_base_url(options.text("url"));
  if (!base || options.number("streams") <= 0 || options.number("opens") <= 0) {
    fmt::print(stderr, "stream_client: needs --url http://host:port/v1, --streams and --opens\n");
    return 2;
  }
  raise_descriptor_limit();
  Streams streams(options, std::move(*base));
  streams.run();
  streams.print();
  return 0;
}
