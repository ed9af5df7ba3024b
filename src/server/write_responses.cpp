#include "server/write_responses.h"

#include "base/json.h"
#include "server/response_output.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <optional>
#include <string_view>

namespace genesis::server {

namespace {

std::string response_usage_json(const Usage& usage) {
  JsonWriter w;
  w.begin_object();
  w.field("input_tokens", usage.input);
  w.field_raw("input_tokens_details", fmt::format(R"({{"cached_tokens":{}}})", usage.cached_input));
  w.field("output_tokens", usage.output);
  w.field_raw("output_tokens_details",
              fmt::format(R"({{"reasoning_tokens":{}}})", usage.reasoning));
  w.field("total_tokens", usage.input + usage.output);
  w.end_object();
  return w.take();
}

// How a response stands.
struct Standing {
  std::string_view status = "in_progress";
  std::string_view incomplete;  // why it is; empty = null
  std::string error_json;       // empty = null
  std::string usage_json;       // empty = null
};

Standing ended(FinishReason finish, const Usage& usage) {
  Standing standing{.status = "completed", .usage_json = response_usage_json(usage)};
  if (finish == FinishReason::kLength) {
    standing.status = "incomplete";
    standing.incomplete = "max_output_tokens";
  } else if (finish == FinishReason::kContentFilter) {
    standing.status = "incomplete";
    standing.incomplete = "content_filter";
  }
  return standing;
}

void nullable(JsonWriter& w, std::string_view name, const std::string& json) {
  w.field_raw(name, json.empty() ? "null" : std::string_view(json));
}

std::string response_json(const AnswerMeta& meta,
                          std::string_view model,
                          const std::string& items,
                          const Standing& standing) {
  JsonWriter w;
  w.begin_object();
  w.field("id", meta.id);
  w.field("object", "response");
  w.field("created_at", meta.created);
  w.field("status", standing.status);
  w.field_bool("background", false);
  nullable(w, "error", standing.error_json);
  nullable(w,
           "incomplete_details",
           standing.incomplete.empty() ? std::string()
                                       : fmt::format(R"({{"reason":"{}"}})", standing.incomplete));
  w.field("model", model);
  w.field_raw("output", items);
  w.field_null("previous_response_id");
  w.field_bool("store", false);
  w.field("truncation", "disabled");
  nullable(w, "usage", standing.usage_json);
  std::string object = w.take();  // still open
  // The echoed members are JSON already (parse_responses.cpp).
  object += ',';
  object += meta.call.wire.echo;
  object += '}';
  return object;
}

class ResponseStream final : public StreamFormat {
 public:
  explicit ResponseStream(const AnswerMeta& meta) : meta_(meta), output_(serial_of(meta)) {}

  void begin(const ServedBy& served) override { model_ = served.model; }

  Result<std::string> delta(const ChatDelta& delta) override {
    std::string out;
    start(out);
    if (!delta.reasoning.empty()) {
      output_.reasoning(out, delta.reasoning);
    }
    if (!delta.text.empty()) {
      output_.text(out, delta.text);
    }
    if (!delta.tool_calls_json.empty()) {
      GENESIS_TRY_VOID(output_.tools(out, delta.tool_calls_json));
    }
    finish_ = delta.finish ? delta.finish : finish_;
    return out;
  }

  std::string end(const Usage& usage) override {
    std::string out;
    start(out);
    output_.finish(out);
    const Standing standing = ended(finish_.value_or(FinishReason::kStop), usage);
    tell(out, fmt::format("response.{}", standing.status), standing);
    return out;
  }

  // The clients learn of it by `response.failed`, or by the error event that their streams raise.
  std::string cut(const Error& error, std::string_view body) override {
    std::string out;
    start(out);
    JsonWriter w;
    w.begin_object();
    w.field("code", "server_error");
    w.field("message", error.message);
    w.end_object();
    tell(out, "response.failed", {.status = "failed", .error_json = w.take()});
    output_.event(out, "error", [&](JsonWriter& event) {
      event.field("code", error_code_name(error.code));
      event.field("message", error.message);
      event.field_null("param");
      if (const auto members = scan_members(body); members && !members->empty()) {
        event.field_raw("error", members->front().value);
      }
    });
    return out;
  }

 private:
  void start(std::string& out) {
    if (std::exchange(started_, true)) {
      return;
    }
    tell(out, "response.created", {});
    tell(out, "response.in_progress", {});
  }

  void tell(std::string& out, std::string_view type, const Standing& standing) {
    output_.event(out, type, [&](JsonWriter& w) {
      w.field_raw("response", response_json(meta_, model_, output_.items_json(), standing));
    });
  }

  const AnswerMeta& meta_;
  std::string model_;
  bool started_ = false;
  std::optional<FinishReason> finish_;
  ResponseOutput output_;
};

}  // namespace

std::string response_body(const AnswerMeta& meta,
                          const ServedBy& served,
                          const CollectedAnswer& answer,
                          const Usage& usage) {
  const CollectedChoice& choice = answer.choices().front();
  ResponseOutput output(serial_of(meta));
  std::string events;  // nobody reads them
  if (!choice.reasoning.empty()) {
    output.reasoning(events, choice.reasoning);
  }
  if (!choice.text.empty()) {
    output.text(events, choice.text);
  }
  if (!choice.tool_calls.empty()) {
    // Made by ToolCallMerger, so it is such a list.
    (void)output.tools(events, choice.tool_calls.to_json());
  }
  output.finish(events);
  return response_json(meta,
                       served.model,
                       output.items_json(),
                       ended(choice.finish.value_or(FinishReason::kStop), usage));
}

std::unique_ptr<StreamFormat> make_response_stream(const AnswerMeta& meta) {
  return std::make_unique<ResponseStream>(meta);
}

}  // namespace genesis::server
