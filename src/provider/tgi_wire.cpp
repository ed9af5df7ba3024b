#include "provider/tgi_wire.h"

#include "base/json.h"
#include "base/log.h"
#include "provider/upstream_errors.h"
#include "provider/vectors.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace genesis::provider {

namespace {

namespace json = boost::json;

// Enough of an unknown word to recognise it in a log.
constexpr std::size_t kMaxLoggedWord = 40;

std::unexpected<Error> unusable(std::string_view why) {
  return fail(ErrorCode::kUpstream, std::string(why));
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

const json::array* list_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_array();
}

const json::array& or_empty(const json::array* list) {
  static const json::array kNothing;
  return list == nullptr ? kNothing : *list;
}

std::string_view member_of(std::string_view object, std::string_view key) {
  if (const auto members = scan_members(object)) {
    for (const JsonMember& member : *members) {
      if (member.key == key) {
        return member.value;
      }
    }
  }
  return {};
}

bool asks_for_details(const ChatInput& input) {
  return member_of(member_of(input.native, "parameters"), "details") == "true";
}

// The client's parameters with `details`.
std::string with_details(std::string_view parameters) {
  JsonWriter out;
  out.begin_object();
  if (const auto members = scan_members(parameters)) {
    for (const JsonMember& member : *members) {
      if (member.key != "details") {
        out.field_raw(member.key, member.value);
      }
    }
  }
  out.field_bool("details", true);
  out.end_object();
  return out.take();
}

Result<std::string> rewrite_native(const std::string& native) {
  GENESIS_TRY(const auto members, scan_members(native));
  JsonWriter out;
  out.begin_object();
  std::string_view parameters;
  for (const JsonMember& member : members) {
    if (member.key == "parameters") {
      parameters = member.value;
    } else if (member.key != "stream") {
      out.field_raw(member.key, member.value);
    }
  }
  out.field_raw("parameters", with_details(parameters));
  out.end_object();
  return out.take();
}

Result<void> refuse_unsupported(const ChatRequest& request, const UpstreamOptions& options) {
  const Sampling& s = request.sampling;
  const Sampling usual;
  const std::pair<bool, std::string_view> lacks[] = {
      {!request.input->prompt_tokens.empty(), "prompt"},
      {request.n != 1, "n"},
      {request.echo, "echo"},
      {s.min_p != usual.min_p, "min_p"},
      {s.presence_penalty != usual.presence_penalty, "presence_penalty"},
      {s.min_tokens != usual.min_tokens, "min_tokens"},
      {s.ignore_eos, "ignore_eos"},
      {!s.logit_bias.empty(), "logit_bias"},
  };
  for (const auto& [asked, field] : lacks) {
    if (asked) {
      return cannot(options,
                    fmt::format("honour this '{}': TGI does not know it", field),
                    std::string(field));
    }
  }
  if (!request.input->demands.empty()) {
    return cannot(options, "force the form of an answer", request.input->demands.front());
  }
  for (const std::string_view field : {"suffix", "best_of"}) {
    const std::string_view value = member_of(request.input->body, field);
    if (!value.empty() && value != "null" && value != "1" && value != "\"\"") {
      return cannot(options, fmt::format("honour '{}'", field), std::string(field));
    }
  }
  return {};
}

// Only what differs from TGI's defaults; it refuses a temperature of 0 and a top_p of 1.
void write_parameters(JsonWriter& out, const Sampling& s) {
  out.begin_object();
  out.field_bool("details", true);
  const bool samples = s.temperature > 0;
  if (samples) {
    out.field_bool("do_sample", true);
    out.field_number("temperature", s.temperature);
    if (s.top_p < 1) {
      out.field_number("top_p", s.top_p);
    }
    if (s.top_k > 0) {
      out.field("top_k", std::int64_t{s.top_k});
    }
    if (s.typical_p < 1) {
      out.field_number("typical_p", s.typical_p);
    }
  }
  if (s.repetition_penalty != 1.0) {
    out.field_number("repetition_penalty", s.repetition_penalty);
  }
  if (s.frequency_penalty != 0.0) {
    out.field_number("frequency_penalty", s.frequency_penalty);
  }
  if (s.seed) {
    out.field_raw("seed", std::to_string(*s.seed));
  }
  if (s.max_tokens) {
    out.field("max_new_tokens", std::int64_t{*s.max_tokens});
  }
  if (!s.stop.empty()) {
    out.key("stop");
    out.begin_array();
    for (const std::string& stop : s.stop) {
      out.string(stop);
    }
    out.end_array();
  }
  if (s.top_logprobs > 0) {
    out.field("top_n_tokens", std::int64_t{s.top_logprobs});
  }
  if (s.want_prompt_logprobs) {
    out.field_bool("decoder_input_details", true);
  }
  out.end_object();
}

// {id, text, logprob, special}; the first token of a prompt has no logprob.
Result<TokenInfo> read_token(const json::object& object) {
  GENESIS_TRY(const auto id, get_integer(object, "id"));
  GENESIS_TRY(auto text, get_string(object, "text"));
  GENESIS_TRY(const auto logprob, get_number(object, "logprob"));
  GENESIS_TRY(const auto special, get_bool(object, "special"));
  if (!text || id.value_or(-1) < -1 || id.value_or(-1) > std::numeric_limits<std::int32_t>::max()) {
    return unusable("a token without text, or with an impossible id");
  }
  return TokenInfo{
      .id = static_cast<std::int32_t>(id.value_or(-1)),
      .text = std::move(*text),
      .logprob = logprob ? static_cast<float>(*logprob) : std::numeric_limits<float>::quiet_NaN(),
      .special = special.value_or(false)};
}

Result<std::vector<TokenInfo>> read_tokens(const json::object& holder, std::string_view key) {
  std::vector<TokenInfo> tokens;
  const json::array* list = list_at(holder, key);
  for (const json::value& item : or_empty(list)) {
    if (!item.is_object()) {
      return unusable("a token is not an object");
    }
    GENESIS_TRY(auto token, read_token(item.get_object()));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<void> add_alternatives(const json::array* list, TokenInfo& token) {
  for (const json::value& item : or_empty(list)) {
    if (!item.is_object()) {
      return unusable("a token is not an object");
    }
    GENESIS_TRY(auto other, read_token(item.get_object()));
    token.top.push_back({.id = other.id, .text = std::move(other.text), .logprob = other.logprob});
  }
  return {};
}

std::optional<std::int64_t> count_at(const json::object& object, std::string_view key) {
  const auto value = get_integer(object, key);
  const bool usable = value && *value && **value >= 0 && **value <= kMaxUsageTokens;
  return usable ? *value : std::nullopt;
}

// `input` in the header that TGI answers with, when details do not tell it.
std::int64_t input_from(const net::Headers& headers) {
  const std::string_view text = headers.get("x-prompt-tokens").value_or("");
  std::int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count < 0 || count > kMaxUsageTokens ? 0 : count;
}

}  // namespace

Result<std::string> tgi_request_body(const ChatRequest& request, const UpstreamOptions& options) {
  if (is_chat(request.dialect)) {
    auto refusal = cannot(options, "hold a conversation in TGI's own dialect");
    refusal.error().hint =
        "TGI v3 speaks OpenAI's: give the endpoint dialect = \"openai\" and a url with /v1";
    return refusal;
  }
  if (is_embed(request.dialect)) {
    return cannot(options, "embed or score texts");
  }
  if (request.dialect == Dialect::kTgi && !request.input->native.empty()) {
    return rewrite_native(request.input->native);
  }
  GENESIS_TRY_VOID(refuse_unsupported(request, options));
  JsonWriter out;
  out.begin_object();
  out.field("inputs", request.input->prompt);
  out.key("parameters");
  write_parameters(out, request.sampling);
  out.end_object();
  return out.take();
}

TgiReader::TgiReader(const ChatRequest& request, std::string endpoint, const Clock& clock)
    : request_(request),
      endpoint_(std::move(endpoint)),
      clock_(clock),
      raw_(request.dialect == Dialect::kTgi && asks_for_details(*request.input)) {}

Result<AnswerPart> TgiReader::read_event(net::SseEvent& event) {
  if (event.data.empty()) {
    return AnswerPart{};
  }
  const auto read = [&]() -> Result<AnswerPart> {
    GENESIS_TRY(const json::value value, parse_json(event.data));
    if (!value.is_object()) {
      return unusable("not a JSON object");
    }
    if (const auto told = find_upstream_error(value.get_object())) {
      return AnswerPart{.error = error_in_stream(*told, endpoint_)};
    }
    return read_token_event(value.get_object());
  };
  auto part = read();
  if (!part) {
    return unusable_answer(endpoint_, part.error());
  }
  if (raw_ && request_.stream && !part->deltas.empty()) {
    part->deltas.front().raw = to_one_line(std::move(event.data));
  }
  return part;
}

Result<AnswerPart> TgiReader::read_token_event(const json::object& event) {
  const json::object* token = object_at(event, "token");
  if (token == nullptr) {
    return unusable("an event without a token");
  }
  ChatDelta delta;
  GENESIS_TRY(auto info, read_token(*token));
  GENESIS_TRY_VOID(add_alternatives(list_at(event, "top_tokens"), info));
  delta.text = info.special ? std::string() : info.text;
  delta.tokens.push_back(std::move(info));
  AnswerPart part;
  if (const json::object* details = object_at(event, "details")) {
    GENESIS_TRY(delta.finish, read_finish(*details));
    const auto output = count_at(*details, "generated_tokens");
    part.absurd_usage = !output;
    if (output) {
      part.usage =
          Usage{.input = count_at(*details, "input_length").value_or(0), .output = *output};
    }
  } else if (const json::value* text = event.if_contains("generated_text");
             text != nullptr && text->is_string()) {
    delta.finish = FinishReason::kStop;
  }
  hold_stop(delta);
  part.end = delta.finish.has_value();
  part.deltas.push_back(std::move(delta));
  return part;
}

// TGI's text ends with the stop string that ended it, OpenAI's does not: what may become one is
// held back until it is known.
void TgiReader::hold_stop(ChatDelta& delta) {
  const Sampling& sampling = request_.sampling;
  if (sampling.include_stop_in_output || sampling.stop.empty()) {
    return;
  }
  held_ += delta.text;
  std::size_t keep = 0;
  for (const std::string& stop : sampling.stop) {
    if (delta.finish == FinishReason::kStopSequence && held_.ends_with(stop)) {
      keep = std::max(keep, stop.size());
    }
    for (std::size_t n = std::min(stop.size(), held_.size()); n > keep && !delta.finish; --n) {
      keep = held_.ends_with(std::string_view(stop).substr(0, n)) ? n : keep;
    }
  }
  delta.text = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
}

Result<FinishReason> TgiReader::read_finish(const json::object& details) const {
  GENESIS_TRY(const auto reason, get_string(details, "finish_reason"));
  if (reason == "length") {
    return FinishReason::kLength;
  }
  if (reason == "stop_sequence") {
    return FinishReason::kStopSequence;
  }
  if (!reason) {
    return unusable("details without a finish_reason");
  }
  if (reason != "eos_token") {
    log(LogLevel::kWarn,
        "unknown finish_reason taken as 'eos_token'",
        {{"endpoint", endpoint_}, {"finish_reason", reason->substr(0, kMaxLoggedWord)}});
  }
  return FinishReason::kStop;
}

Result<AnswerPart> TgiReader::read_body(std::string& body, const net::Headers& headers) {
  const auto read = [&]() -> Result<AnswerPart> {
    GENESIS_TRY(json::value value, parse_json(body));
    // The route "/" answers with a list of one.
    if (value.is_array() && value.get_array().size() == 1) {
      value = json::value(value.get_array().front());
    }
    if (!value.is_object()) {
      return unusable("not a JSON object");
    }
    if (const auto told = find_upstream_error(value.get_object())) {
      return AnswerPart{.error = error_in_stream(*told, endpoint_)};
    }
    return read_whole(value.get_object(), headers);
  };
  auto part = read();
  if (!part) {
    return unusable_answer(endpoint_, part.error());
  }
  if (raw_ && !request_.stream && !part->deltas.empty()) {
    part->deltas.front().raw = std::move(body);
  }
  return part;
}

Result<AnswerPart> TgiReader::read_whole(const json::object& body, const net::Headers& headers) {
  ChatDelta delta;
  GENESIS_TRY(auto text, get_string(body, "generated_text"));
  const json::object* details = object_at(body, "details");
  if (!text || details == nullptr) {
    return unusable("no 'generated_text' or no 'details'");
  }
  delta.text = std::move(*text);
  GENESIS_TRY(delta.finish, read_finish(*details));
  hold_stop(delta);
  GENESIS_TRY(delta.prompt_tokens, read_tokens(*details, "prefill"));
  GENESIS_TRY(delta.tokens, read_tokens(*details, "tokens"));
  if (const json::array* tops = list_at(*details, "top_tokens")) {
    for (std::size_t i = 0; i < std::min(tops->size(), delta.tokens.size()); ++i) {
      GENESIS_TRY_VOID(add_alternatives((*tops)[i].if_array(), delta.tokens[i]));
    }
  }
  AnswerPart part;
  const auto output = count_at(*details, "generated_tokens");
  part.absurd_usage = !output;
  if (output) {
    const auto prefill = static_cast<std::int64_t>(delta.prompt_tokens.size());
    part.usage = Usage{.input = prefill > 0 ? prefill : input_from(headers), .output = *output};
  }
  part.deltas.push_back(std::move(delta));
  return part;
}

Error TgiReader::read_refusal(int status, const net::Headers& headers, std::string_view body) {
  return error_from_response(status, headers, body, endpoint_, clock_.unix_ms());
}

}  // namespace genesis::provider
