// The answering side of the mock upstream. The journal line of an attempt is always written before
// the bytes (or the close) that tell the caller how it ended.
#include "exchange.h"

#include "base/clock.h"
#include "base/json.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace genesis::mock {

namespace {

class Counted {
 public:
  explicit Counted(std::atomic<int>& count) : count_(count) { ++count_; }

  ~Counted() { --count_; }

  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int>& count_;
};

std::string chunked(std::string_view bytes) {
  std::array<char, 20> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  return std::string(size.data(), end) + "\r\n" + std::string(bytes) + "\r\n";
}

}  // namespace

void Exchange::run() {
  const Counted counted(mock_.connections);
  HttpRequest request;
  while (connection_.read_request(request) && answer(request)) {
  }
}

bool Exchange::send_json(int status, std::string_view body, std::string_view more_fields) {
  std::string fields = "content-length: " + std::to_string(body.size()) + "\r\n";
  fields += more_fields;
  return connection_.send(http_head(status, "application/json", fields) + std::string(body));
}

bool Exchange::answer(const HttpRequest& request) {
  if (request.method == "POST" && request.path == "/__script") {
    const auto loaded = mock_.script.load(request.body);
    return loaded ? send_json(200, "{}")
                  : send_json(400, error_object(loaded.error().message, "script", ""));
  }
  if (request.method == "POST" && request.path == "/__reset") {
    mock_.script.clear();
    return send_json(200, "{}");
  }
  if (request.path == "/__journal") {
    return send_json(200, mock_.journal.dump());
  }
  if (request.path == "/__stats") {
    JsonWriter w;
    w.begin_object();
    w.field("connections", static_cast<std::int64_t>(mock_.connections.load()));
    w.field("active", static_cast<std::int64_t>(mock_.active.load()));
    w.end_object();
    return send_json(200, w.str());
  }
  if (request.path == "/health") {
    return send_json(200, "{}");
  }
  if (request.path.ends_with("/models")) {
    return send_json(
        200, R"({"object":"list","data":[{"id":"mock","object":"model","owned_by":"mock"}]})");
  }
  if (request.method == "POST" && request.path.ends_with("/completions")) {
    const Counted counted(mock_.active);
    return answer_ask(request);
  }
  return send_json(404, error_object("no such route", "invalid_request_error", "not_found"));
}

bool Exchange::answer_ask(const HttpRequest& request) {
  line_ = JournalLine();
  line_.attempt = request.attempt;
  line_.path = request.path;
  line_.received_ms = SystemClock().unix_ms();
  out_.clear();
  auto ask = read_ask(request.path, request.body);
  if (!ask) {
    line_.status = 400;
    ended("bad_request");
    return send_json(400, error_object(ask.error().message, "invalid_request_error", ""));
  }
  ask_ = std::move(*ask);
  line_.model = ask_.model;
  line_.stream = ask_.stream;
  line_.last_role = ask_.last_role;
  if (const auto& key = mock_.options.api_key;
      !key.empty() && request.authorization != "Bearer " + key) {
    line_.status = 401;
    ended("refused");
    return send_json(
        401,
        error_object("Incorrect API key provided", "invalid_request_error", "invalid_api_key"));
  }
  fault_ = mock_.script.take(ask_.model, ask_.last_role == "assistant");
  if (fault_ && fault_->kind == "none") {
    fault_.reset();
  }
  line_.fault = fault_ ? fault_->kind : "";
  if (fault_ && !before_head(*fault_)) {
    return false;
  }
  if (is("status") || is("refuse_prefill")) {
    return true;  // answered already
  }
  return ask_.stream && !is("html") ? answer_stream() : answer_whole();
}

bool Exchange::before_head(const Fault& fault) {
  if (fault.kind == "status" || fault.kind == "refuse_prefill") {
    line_.status = fault.kind == "status" ? fault.status : 400;
    const std::string retry =
        fault.retry_after_s ? "retry-after: " + std::to_string(*fault.retry_after_s) + "\r\n" : "";
    const std::string type = line_.status < 500 ? "invalid_request_error" : "server_error";
    ended("refused");
    return send_json(
        line_.status,
        error_object(fault.message.empty() ? "scripted failure" : fault.message, type, fault.code),
        retry);
  }
  if (fault.kind == "reset" || fault.kind == "close") {
    if (fault.kind == "reset") {
      connection_.make_reset();
    }
    ended("refused");
    return false;
  }
  if (fault.kind == "hang") {
    ended(connection_.wait_ms(fault.ms) ? "hung" : "client_gone");
    return false;
  }
  if (fault.kind == "slow_head" && !connection_.wait_ms(fault.ms)) {
    ended("client_gone");
    return false;
  }
  return true;
}

bool Exchange::ended(std::string_view outcome) {
  line_.outcome = outcome;
  if (outcome != "refused" && outcome != "bad_request") {
    line_.prompt_tokens = ask_.prompt_tokens;
  }
  mock_.journal.append(line_);
  return false;
}

bool Exchange::answer_whole() {
  line_.status = 200;
  if (is("html")) {
    ended("refused");
    const std::string page = "<html><body>Bad gateway</body></html>";
    return connection_.send(
        http_head(200, "text/html", "content-length: " + std::to_string(page.size()) + "\r\n") +
        page);
  }
  if (is("error_object")) {
    ended("refused");
    return send_json(200, error_object("scripted failure", "server_error", fault_->code));
  }
  const auto limit =
      ask_.max_tokens < 0 ? mock_.options.words : std::min(mock_.options.words, ask_.max_tokens);
  const auto tokens = answer_tokens(limit);
  std::string text;
  for (const auto& token : tokens) {
    text += token;
  }
  const int pace = mock_.options.first_token_ms + (is("slow_first") ? fault_->ms : 0) +
                   mock_.options.between_ms * static_cast<int>(tokens.size());
  if (pace > 0 && !connection_.wait_ms(pace)) {
    return ended("client_gone");
  }
  line_.completion_tokens = limit;
  AnswerUsage usage{ask_.prompt_tokens, limit};
  if (is("wrong_usage")) {
    usage = {usage.prompt * 100, usage.completion * 100};
  }
  const auto body = is("invalid_json")
                        ? std::string(R"({"id": "chatcmpl-mock", "choices": [{)")
                        : whole_answer(ask_,
                                       text,
                                       limit < mock_.options.words ? "length" : "stop",
                                       is("no_usage") ? nullptr : &usage);
  if (is("cut") || is("cut_reset") || is("stall")) {
    const auto head = http_head(
        200, "application/json", "content-length: " + std::to_string(body.size()) + "\r\n");
    connection_.send(head + body.substr(0, body.size() / 2));
    const bool there = !is("stall") || connection_.wait_ms(fault_->ms);
    if (is("cut_reset")) {
      connection_.make_reset();
    }
    return ended(!there ? "client_gone" : is("stall") ? "stalled" : "cut");
  }
  ended("completed");
  return send_json(200, body);
}

bool Exchange::event(std::string_view data) {
  if (is("odd_sse")) {
    out_ += chunked(": a comment\r\nevent: message\r\ndata:" + std::string(data) + "\r\n\r\n");
  } else {
    out_ += chunked("data: " + std::string(data) + "\n\n");
  }
  // Unpaced streams are sent in pieces of some size, as a fast upstream's would arrive.
  return out_.size() < 16 * 1024 || flush();
}

bool Exchange::flush() {
  const bool sent = is("split") ? connection_.send_split(out_) : connection_.send(out_);
  out_.clear();
  return sent;
}

bool Exchange::answer_stream() {
  line_.status = 200;
  out_ = http_head(
      200, "text/event-stream", "transfer-encoding: chunked\r\ncache-control: no-cache\r\n");
  if (is("odd_sse")) {
    out_ += chunked("\xEF\xBB\xBF: begins with a byte order mark\n\n");
  }
  const int first = mock_.options.first_token_ms + (is("slow_first") ? fault_->ms : 0);
  if (!flush() || (first > 0 && !connection_.wait_ms(first))) {
    return ended("client_gone");
  }
  const auto limit =
      ask_.max_tokens < 0 ? mock_.options.words : std::min(mock_.options.words, ask_.max_tokens);
  if (!send_tokens(answer_tokens(limit))) {
    return false;
  }
  return end_stream(limit < mock_.options.words ? "length" : "stop");
}

bool Exchange::send_tokens(const std::vector<std::string>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!fault_at(static_cast<std::int64_t>(i))) {
      return false;
    }
    const int pace = i == 0 ? 0 : mock_.options.between_ms;
    if (pace > 0 && (!flush() || !connection_.wait_ms(pace))) {
      return ended("client_gone");
    }
    const bool spoiled = is("invalid_json") && static_cast<std::size_t>(fault_->tokens) == i;
    const auto data = spoiled ? std::string(R"({"id":"chatcmpl-mock","choices":[{"delta)")
                              : delta_event(ask_, tokens[i], i == 0);
    line_.completion_tokens = static_cast<std::int64_t>(i) + 1;
    if (!event(data)) {
      return ended("client_gone");
    }
  }
  return fault_at(static_cast<std::int64_t>(tokens.size()));
}

bool Exchange::fault_at(std::int64_t index) {
  if (!fault_ || fault_->tokens != index) {
    return true;
  }
  if (is("cut") || is("cut_reset")) {
    flush();
    if (is("cut_reset")) {
      // What was sent must arrive before the reset throws it away.
      connection_.wait_ms(50);
      connection_.make_reset();
    }
    return ended("cut");
  }
  if (is("stall")) {
    return ended(flush() && connection_.wait_ms(fault_->ms) ? "stalled" : "client_gone");
  }
  if (is("early_done")) {
    ended("cut");
    event("[DONE]");
    out_ += "0\r\n\r\n";
    flush();
    return false;
  }
  if (is("error_object")) {
    ended("cut");
    event(error_object("scripted failure", "server_error", fault_->code));
    out_ += "0\r\n\r\n";
    flush();
    return false;
  }
  return true;
}

bool Exchange::end_stream(std::string_view finish) {
  event(finish_event(ask_, finish));
  AnswerUsage usage{ask_.prompt_tokens, line_.completion_tokens};
  if (is("wrong_usage")) {
    usage = {usage.prompt * 100, usage.completion * 100};
  }
  if (ask_.include_usage && !is("no_usage")) {
    event(usage_event(ask_, usage));
  }
  if (!is("no_done")) {
    event("[DONE]");
  }
  out_ += "0\r\n\r\n";
  ended("completed");
  return flush();
}

}  // namespace genesis::mock
