#include "provider/openai_embed.h"

#include "base/json.h"
#include "provider/upstream_errors.h"
#include "provider/vectors.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace genesis::provider {

namespace {

namespace json = boost::json;

Result<std::string> rewrite_body(std::string_view body, std::string_view model) {
  GENESIS_TRY(const auto members, scan_members(body));
  JsonWriter out;
  out.begin_object();
  out.field("model", model);
  for (const JsonMember& member : members) {
    if (member.key != "model") {
      out.field_raw(member.key, member.value);
    }
  }
  out.end_object();
  return out.take();
}

std::string write_body(const EmbedInput& input, std::string_view model) {
  JsonWriter out;
  out.begin_object();
  out.field("model", model);
  out.key("input");
  write_inputs(out, input);
  if (input.dimensions) {
    out.field("dimensions", std::int64_t{*input.dimensions});
  }
  out.end_object();
  return out.take();
}

// One entry of `data`; its place in `vectors` is its `index`.
Result<void> read_entry(const json::value& item,
                        std::size_t position,
                        std::vector<std::vector<float>>& vectors) {
  const json::object* entry = item.if_object();
  const json::value* embedding = entry == nullptr ? nullptr : entry->if_contains("embedding");
  if (embedding == nullptr) {
    return fail(ErrorCode::kUpstream, "an entry of 'data' has no 'embedding'");
  }
  GENESIS_TRY(const auto index, get_integer(*entry, "index"));
  const auto at = static_cast<std::size_t>(index.value_or(static_cast<std::int64_t>(position)));
  if (at >= vectors.size() || !vectors[at].empty()) {
    return fail(ErrorCode::kUpstream, "'data' holds an index that was not asked for, or twice");
  }
  GENESIS_TRY(vectors[at], read_vector(*embedding));
  return {};
}

Result<EmbedAnswer> read_answer(const json::object& body, std::size_t count) {
  const json::value* data = body.if_contains("data");
  if (data == nullptr || !data->is_array() || data->get_array().size() != count) {
    return fail(ErrorCode::kUpstream, fmt::format("'data' is not a list of {} entries", count));
  }
  EmbedAnswer answer;
  answer.vectors.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    GENESIS_TRY_VOID(read_entry(data->get_array()[i], i, answer.vectors));
  }
  return answer;
}

// Nullopt when there is no number that could be booked.
std::optional<Usage> read_usage(const json::object& body) {
  const json::value* usage = body.if_contains("usage");
  if (usage == nullptr || !usage->is_object()) {
    return std::nullopt;
  }
  const auto tokens = get_integer(usage->get_object(), "prompt_tokens");
  const bool usable = tokens && *tokens && **tokens >= 0 && **tokens <= kMaxUsageTokens;
  return usable ? std::optional(Usage{.input = **tokens}) : std::nullopt;
}

}  // namespace

Result<std::string> openai_embed_body(const ChatRequest& request, const UpstreamOptions& options) {
  if (!request.input->embed || request.input->embed->task != EmbedTask::kEmbed) {
    return cannot(options, "rerank, predict or compare: its dialect has vectors only");
  }
  const std::string& model = model_of(options, request);
  const std::string& body = request.input->body;
  return body.empty() ? write_body(*request.input->embed, model) : rewrite_body(body, model);
}

OpenAiEmbedReader::OpenAiEmbedReader(const ChatRequest& request,
                                     std::string endpoint,
                                     const Clock& clock)
    : request_(request), endpoint_(std::move(endpoint)), clock_(clock) {}

Result<AnswerPart> OpenAiEmbedReader::read_event(net::SseEvent&) {
  return fail(ErrorCode::kUpstream,
              fmt::format("endpoint '{}' streamed where a body was asked for", endpoint_));
}

Result<AnswerPart> OpenAiEmbedReader::read_body(std::string& body, const net::Headers&) {
  const auto read = [&]() -> Result<AnswerPart> {
    GENESIS_TRY(const json::value value, parse_json(body));
    if (!value.is_object()) {
      return fail(ErrorCode::kUpstream, "not a JSON object");
    }
    const json::object& object = value.get_object();
    if (const auto told = find_upstream_error(object)) {
      return AnswerPart{.error = error_in_stream(*told, endpoint_)};
    }
    GENESIS_TRY(auto answer, read_answer(object, request_.input->embed->size()));
    AnswerPart part{.usage = read_usage(object)};
    part.absurd_usage = !part.usage && object.contains("usage");
    ChatDelta delta;
    delta.finish = FinishReason::kStop;
    delta.embed = std::make_shared<const EmbedAnswer>(std::move(answer));
    part.deltas.push_back(std::move(delta));
    return part;
  };
  auto part = read();
  if (!part) {
    return unusable_answer(endpoint_, part.error());
  }
  if (request_.dialect == Dialect::kEmbeddings && !part->deltas.empty()) {
    part->deltas.front().raw = std::move(body);
  }
  return part;
}

Error OpenAiEmbedReader::read_refusal(int status,
                                      const net::Headers& headers,
                                      std::string_view body) {
  return error_from_response(status, headers, body, endpoint_, clock_.unix_ms());
}

}  // namespace genesis::provider
