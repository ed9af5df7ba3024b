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

// An unpaced stream is sent in pieces of this size, as a fast upstream's would arrive.
constexpr std::size_t kPieceBytes = 16 * 1024;

class Counted {
 public:
  explicit Counted(int& count) : count_(count) { ++count_; }

  ~Counted() { --count_; }

  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  int& count_;
};

std::string chunked(std::string_view bytes) {
  std::array<char, 20> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  return std::string(size.data(), end) + "\r\n" + std::string(bytes) + "\r\n";
}

// What a call's arguments are, in the pieces in which they are streamed.
constexpr std::array<std::string_view, 3> kArguments = {R"({"city")", R"(:"Oslo","n")", ":2}"};

}  // namespace

Task<void> Exchange::run() {
  const Counted counted(mock_.connections);
  HttpRequest request;
  while (co_await connection_.read_request(request)) {
    if (!co_await answer(request)) {
      break;
    }
  }
}

Task<bool> Exchange::send_json(int status, std::string_view body, std::string_view more_fields) {
  std::string fields = "content-length: " + std::to_string(body.size()) + "\r\n";
  fields += more_fields;
  std::string bytes = http_head(status, "application/json", fields);
  bytes += body;
  co_return co_await connection_.send(bytes);
}

// The routes that answer about the mock itself.
std::optional<std::string> Exchange::service_body(const HttpRequest& request) {
  if (request.method == "POST" && request.path == "/__reset") {
    mock_.script.clear();
    return "{}";
  }
  if (request.path == "/__journal") {
    return mock_.journal.dump();
  }
  if (request.path == "/__stats") {
    JsonWriter w;
    w.begin_object();
    w.field("connections", std::int64_t{mock_.connections});
    w.field("active", std::int64_t{mock_.active});
    w.end_object();
    return w.take();
  }
  if (request.path == "/health") {
    return "{}";
  }
  if (request.path.ends_with("/models")) {
    return R"({"object":"list","data":[{"id":"mock","object":"model","owned_by":"mock"}]})";
  }
  return std::nullopt;
}

Task<bool> Exchange::answer(const HttpRequest& request) {
  if (request.method == "POST" && request.path == "/__script") {
    const auto loaded = mock_.script.load(request.body);
    const std::string said =
        loaded ? "{}" : error_object(Wire::kChat, 400, loaded.error().message, "");
    co_return co_await send_json(loaded ? 200 : 400, said);
  }
  if (const auto body = service_body(request)) {
    co_return co_await send_json(200, *body);
  }
  ask_ = Ask();
  if (request.method != "POST" || !find_wire(request.path, ask_)) {
    const std::string said = error_object(Wire::kChat, 404, "no such route", "not_found");
    co_return co_await send_json(404, said);
  }
  const Counted counted(mock_.active);
  co_return co_await answer_ask(request);
}

bool Exchange::authorized(const HttpRequest& request) const {
  const auto& key = mock_.options.api_key;
  return key.empty() || (ask_.wire == Wire::kMessages ? request.api_key == key
                                                      : request.authorization == "Bearer " + key);
}

Task<bool> Exchange::refuse(int status, std::string_view message, std::string_view code) {
  line_.status = status;
  ended(status == 400 ? "bad_request" : "refused");
  const std::string body = error_object(ask_.wire, status, message, code);
  co_return co_await send_json(status, body);
}

Task<bool> Exchange::answer_ask(const HttpRequest& request) {
  line_ = JournalLine();
  line_.attempt = request.attempt;
  line_.traceparent = request.traceparent;
  line_.path = request.path;
  line_.dialect = wire_name(ask_.wire);
  line_.received_ms = SystemClock().unix_ms();
  out_.clear();
  fault_.reset();
  const auto read = read_ask(request.path, request.body, ask_);
  if (!read) {
    co_return co_await refuse(400, read.error().message, "");
  }
  line_.model = ask_.model;
  line_.stream = ask_.stream;
  line_.last_role = ask_.last_role;
  if (!authorized(request)) {
    co_return co_await refuse(401, "Incorrect API key provided", "invalid_api_key");
  }
  if (ask_.wire == Wire::kMessages && request.version.empty()) {
    co_return co_await refuse(400, "anthropic-version: header is required", "");
  }
  if (request.path.ends_with("/count_tokens")) {
    const std::string body = R"({"input_tokens":)" + std::to_string(ask_.prompt_tokens) + "}";
    co_return co_await send_json(200, body);  // costs nothing, so it has no line in the journal
  }
  fault_ = mock_.script.take(ask_.model, ask_.last_role == "assistant");
  if (fault_ && fault_->kind == "none") {
    fault_.reset();
  }
  line_.fault = fault_ ? fault_->kind : "";
  if (fault_ && !co_await before_head(*fault_)) {
    co_return false;
  }
  if (is("status") || is("refuse_prefill")) {
    co_return true;  // answered already
  }
  plan_answer();
  const bool streams = ask_.stream && !is_embed(ask_.wire) && !is("html");
  co_return streams ? co_await answer_stream() : co_await answer_whole();
}

Task<bool> Exchange::before_head(const Fault& fault) {
  if (fault.kind == "status" || fault.kind == "refuse_prefill") {
    line_.status = fault.kind == "status" ? fault.status : 400;
    const std::string retry =
        fault.retry_after_s ? "retry-after: " + std::to_string(*fault.retry_after_s) + "\r\n" : "";
    ended("refused");
    const std::string body =
        error_object(ask_.wire,
                     line_.status,
                     fault.message.empty() ? "scripted failure" : fault.message,
                     fault.code);
    co_return co_await send_json(line_.status, body, retry);
  }
  if (fault.kind == "reset" || fault.kind == "close") {
    if (fault.kind == "reset") {
      connection_.make_reset();
    }
    co_return ended("refused");
  }
  if (fault.kind == "hang") {
    co_return ended(co_await connection_.wait_ms(fault.ms) ? "hung" : "client_gone");
  }
  if (fault.kind == "slow_head" && !co_await connection_.wait_ms(fault.ms)) {
    co_return ended("client_gone");
  }
  co_return true;
}

bool Exchange::ended(std::string_view outcome) {
  line_.outcome = outcome;
  if (outcome != "refused" && outcome != "bad_request") {
    line_.prompt_tokens = ask_.prompt_tokens;
    line_.cached_tokens = plan_.usage.cached;
    line_.cache_write_tokens = plan_.usage.cache_write;
  }
  mock_.journal.append(line_);
  return false;
}

void Exchange::plan_answer() {
  plan_ = Answer();
  plan_.usage.prompt = ask_.prompt_tokens;
  plan_.tells_usage = !is("no_usage");
  if (is_embed(ask_.wire)) {
    return;
  }
  const Fault usual;
  const Fault& script = is("answer") ? *fault_ : usual;
  for (const auto& word : answer_tokens(script.thinking)) {
    plan_.pieces.push_back({.kind = Piece::Kind::kThinking, .text = word});
  }
  const auto words =
      ask_.max_tokens < 0 ? mock_.options.words : std::min(mock_.options.words, ask_.max_tokens);
  for (const auto& word : answer_tokens(words)) {
    plan_.pieces.push_back({.kind = Piece::Kind::kText, .text = word});
  }
  const int calls = ask_.tool.empty() ? 0 : script.calls;
  for (int call = 0; call < calls; ++call) {
    for (const std::string_view part : kArguments) {
      plan_.pieces.push_back({.kind = Piece::Kind::kCall,
                              .text = std::string(part),
                              .begins = part == kArguments.front(),
                              .call = call});
    }
  }
  plan_.finish = !script.finish.empty()        ? script.finish
                 : calls > 0                   ? "tool_calls"
                 : words < mock_.options.words ? "length"
                                               : "stop";
  plan_.usage.completion = static_cast<std::int64_t>(plan_.pieces.size());
  plan_.usage.cached = std::min<std::int64_t>(script.cached, ask_.prompt_tokens);
  plan_.usage.cache_write =
      std::min<std::int64_t>(script.cache_write, ask_.prompt_tokens - plan_.usage.cached);
  plan_.usage.reasoning = script.thinking;
  if (is("wrong_usage")) {
    plan_.usage.prompt *= 100;
    plan_.usage.completion *= 100;
  }
}

Task<bool> Exchange::answer_whole() {
  line_.status = 200;
  if (is("html")) {
    ended("refused");
    const std::string page = "<html><body>Bad gateway</body></html>";
    std::string bytes =
        http_head(200, "text/html", "content-length: " + std::to_string(page.size()) + "\r\n");
    bytes += page;
    co_return co_await connection_.send(bytes);
  }
  if (is("error_object")) {
    ended("refused");
    const std::string body = error_object(ask_.wire, 500, "scripted failure", fault_->code);
    co_return co_await send_json(200, body);
  }
  const int pace = mock_.options.first_token_ms + (is("slow_first") ? fault_->ms : 0) +
                   mock_.options.between_ms * static_cast<int>(plan_.pieces.size());
  if (pace > 0 && !co_await connection_.wait_ms(pace)) {
    co_return ended("client_gone");
  }
  line_.completion_tokens = static_cast<std::int64_t>(plan_.pieces.size());
  line_.reasoning_tokens = plan_.usage.reasoning;
  const auto body = is("invalid_json") ? std::string(R"({"id": "chatcmpl-mock", "choices": [{)")
                                       : whole_answer(ask_, plan_);
  if (is("cut") || is("cut_reset") || is("stall")) {
    co_return co_await break_whole(body);
  }
  ended("completed");
  const std::string tokens = std::to_string(ask_.prompt_tokens);
  const std::string fields = !plan_.tells_usage             ? ""
                             : ask_.wire == Wire::kGenerate ? "x-prompt-tokens: " + tokens + "\r\n"
                             : ask_.wire >= Wire::kEmbed    ? "x-compute-tokens: " + tokens + "\r\n"
                                                            : "";
  co_return co_await send_json(200, body, fields);
}

Task<bool> Exchange::break_whole(const std::string& body) {
  std::string bytes =
      http_head(200, "application/json", "content-length: " + std::to_string(body.size()) + "\r\n");
  bytes += body.substr(0, body.size() / 2);
  co_await connection_.send(bytes);
  const bool there = !is("stall") || co_await connection_.wait_ms(fault_->ms);
  if (is("cut_reset")) {
    connection_.make_reset();
  }
  co_return ended(!there ? "client_gone" : is("stall") ? "stalled" : "cut");
}

Task<bool> Exchange::events(const std::vector<Event>& events) {
  for (const Event& event : events) {
    if (is("odd_sse")) {
      const std::string name = event.name.empty() ? "message" : event.name;
      out_ += chunked(": a comment\r\nevent: " + name + "\r\ndata:" + event.data + "\r\n\r\n");
    } else {
      out_ += chunked((event.name.empty() ? "" : "event: " + event.name + "\n") +
                      (ask_.wire == Wire::kGenerate ? "data:" : "data: ") + event.data + "\n\n");
    }
  }
  co_return out_.size() < kPieceBytes || co_await flush();
}

Task<bool> Exchange::flush() {
  const std::string bytes = std::exchange(out_, {});
  co_return is("split") ? co_await connection_.send_split(bytes) : co_await connection_.send(bytes);
}

Task<bool> Exchange::answer_stream() {
  line_.status = 200;
  const auto writer = make_stream_writer(ask_, plan_.usage);
  out_ = http_head(
      200, "text/event-stream", "transfer-encoding: chunked\r\ncache-control: no-cache\r\n");
  if (is("odd_sse")) {
    out_ += chunked("\xEF\xBB\xBF: begins with a byte order mark\n\n");
  }
  const auto opening = writer->begin();
  co_await events(opening);
  const int first = mock_.options.first_token_ms + (is("slow_first") ? fault_->ms : 0);
  // A head of its own, as servers send it, is noticed by what waits for it.
  if (!co_await flush() || (first > 0 && !co_await connection_.wait_ms(first))) {
    co_return ended("client_gone");
  }
  if (is("other_words")) {
    for (std::size_t i = 2; i < plan_.pieces.size(); ++i) {
      plan_.pieces[i].text = " otherwise";
    }
  }
  if (!co_await send_pieces(*writer)) {
    co_return false;
  }
  co_return co_await end_stream(*writer);
}

Task<bool> Exchange::send_pieces(StreamWriter& writer) {
  for (std::size_t i = 0; i < plan_.pieces.size(); ++i) {
    if (fault_ && !co_await fault_at(static_cast<std::int64_t>(i), writer)) {
      co_return false;
    }
    const int pace = i == 0 ? 0 : mock_.options.between_ms;
    if (pace > 0 && (!co_await flush() || !co_await connection_.wait_ms(pace))) {
      co_return ended("client_gone");
    }
    auto told = writer.piece(plan_.pieces[i]);
    if (is("invalid_json") && static_cast<std::size_t>(fault_->tokens) == i) {
      told = {{.name = {}, .data = R"({"id":"chatcmpl-mock","choices":[{"delta)"}};
    }
    if (is("bad_event") && static_cast<std::size_t>(fault_->tokens) == i) {
      told.insert(told.begin(),
                  {.name = {}, .data = R"({"id":"chatcmpl-mock","choices":[{"delta)"});
    }
    ++line_.completion_tokens;
    line_.reasoning_tokens += plan_.pieces[i].kind == Piece::Kind::kThinking ? 1 : 0;
    if (!co_await events(told)) {
      co_return ended("client_gone");
    }
  }
  co_return !fault_ || co_await fault_at(static_cast<std::int64_t>(plan_.pieces.size()), writer);
}

Task<bool> Exchange::fault_at(std::int64_t index, StreamWriter& writer) {
  if (fault_->tokens != index) {
    co_return true;
  }
  if (is("cut") || is("cut_reset")) {
    co_await flush();
    if (is("cut_reset")) {
      // What was sent must arrive before the reset throws it away.
      co_await connection_.wait_ms(50);
      connection_.make_reset();
    }
    co_return ended("cut");
  }
  if (is("stall")) {
    const bool there = co_await flush() && co_await connection_.wait_ms(fault_->ms);
    co_return ended(there ? "stalled" : "client_gone");
  }
  if (is("early_done")) {
    ended("cut");
    const std::vector<Event> done{writer.done()};
    if (!done.front().data.empty()) {
      co_await events(done);
    }
    out_ += "0\r\n\r\n";
    co_await flush();
    co_return false;
  }
  co_return !is("error_object") || co_await error_in_stream();
}

Task<bool> Exchange::error_in_stream() {
  ended("cut");
  const std::vector<Event> error{
      {.name = ask_.wire == Wire::kMessages ? "error" : "",
       .data = error_object(ask_.wire, 500, "scripted failure", fault_->code)}};
  co_await events(error);
  out_ += "0\r\n\r\n";
  co_await flush();
  co_return false;
}

Task<bool> Exchange::end_stream(StreamWriter& writer) {
  auto last = writer.finish(plan_);
  if (Event done = writer.done(); !is("no_done") && !done.data.empty()) {
    last.push_back(std::move(done));
  }
  co_await events(last);
  out_ += "0\r\n\r\n";
  ended("completed");
  co_return co_await flush();
}

}  // namespace genesis::mock
