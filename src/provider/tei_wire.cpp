#include "provider/tei_wire.h"

#include "base/json.h"
#include "provider/upstream_errors.h"
#include "provider/vectors.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <utility>
#include <vector>

namespace genesis::provider {

namespace {

namespace json = boost::json;

std::unexpected<Error> unusable(std::string why) {
  return fail(ErrorCode::kUpstream, std::move(why));
}

void write_pairs(JsonWriter& out, const EmbedInput& input) {
  out.begin_array();
  for (std::size_t i = 0; i < input.texts.size(); ++i) {
    out.begin_array();
    out.string(input.texts[i]);
    if (!input.pairs.empty()) {
      out.string(input.pairs[i]);
    }
    out.end_array();
  }
  out.end_array();
}

void write_texts(JsonWriter& out, const EmbedInput& input) {
  switch (input.task) {
    case EmbedTask::kEmbed:
      out.key("inputs");
      write_inputs(out, input);
      break;
    case EmbedTask::kRerank:
      out.field("query", input.query);
      out.key("texts");
      write_inputs(out, input);
      break;
    case EmbedTask::kPredict:
      out.key("inputs");
      write_pairs(out, input);
      break;
    case EmbedTask::kSimilarity:
      out.key("inputs");
      out.begin_object();
      out.field("source_sentence", input.query);
      out.key("sentences");
      write_inputs(out, input);
      out.end_object();
      break;
  }
}

std::string write_body(const EmbedInput& input) {
  JsonWriter out;
  out.begin_object();
  write_texts(out, input);
  const bool embeds = input.task == EmbedTask::kEmbed;
  if (embeds && !input.normalize) {
    out.field_bool("normalize", false);
  }
  if (embeds && input.dimensions) {
    out.field("dimensions", std::int64_t{*input.dimensions});
  }
  if (input.truncate) {
    out.field_bool("truncate", true);
  }
  if (input.raw_scores && !embeds) {
    out.field_bool("raw_scores", true);
  }
  if (!input.prompt_name.empty()) {
    out.field("prompt_name", input.prompt_name);
  }
  out.end_object();
  return out.take();
}

Result<std::vector<std::vector<float>>> read_vectors(const json::array& list) {
  std::vector<std::vector<float>> vectors;
  vectors.reserve(list.size());
  for (const json::value& item : list) {
    GENESIS_TRY(auto vector, read_vector(item));
    vectors.push_back(std::move(vector));
  }
  return vectors;
}

Result<std::vector<float>> read_scores(const json::array& list) {
  std::vector<float> scores;
  scores.reserve(list.size());
  for (const json::value& item : list) {
    GENESIS_TRY(const float score, read_float(item));
    scores.push_back(score);
  }
  return scores;
}

// [{"index":2,"score":0.9},...] by falling score.
Result<std::vector<float>> read_ranks(const json::array& list) {
  std::vector<float> scores(list.size());
  std::vector<bool> seen(list.size());
  for (const json::value& item : list) {
    const json::object* rank = item.if_object();
    const json::value* score = rank == nullptr ? nullptr : rank->if_contains("score");
    if (score == nullptr) {
      return unusable("a rank has no 'score'");
    }
    GENESIS_TRY(const auto index, get_integer(*rank, "index"));
    const auto at = static_cast<std::size_t>(index.value_or(-1));
    if (at >= scores.size() || seen[at]) {
      return unusable("a rank's 'index' was not asked for, or comes twice");
    }
    seen[at] = true;
    GENESIS_TRY(scores[at], read_float(*score));
  }
  return scores;
}

Result<std::vector<LabelScore>> read_labels(const json::array& list) {
  std::vector<LabelScore> labels;
  for (const json::value& item : list) {
    const json::object* entry = item.if_object();
    const json::value* score = entry == nullptr ? nullptr : entry->if_contains("score");
    if (score == nullptr) {
      return unusable("a label has no 'score'");
    }
    GENESIS_TRY(auto label, get_string(*entry, "label"));
    GENESIS_TRY(const float value, read_float(*score));
    labels.push_back({.label = std::move(label).value_or(""), .score = value});
  }
  return labels;
}

// A list for each text; for a single text TEI may answer with its list alone.
Result<std::vector<std::vector<LabelScore>>> read_predictions(const json::array& list) {
  std::vector<std::vector<LabelScore>> all;
  if (!list.empty() && list.front().is_object()) {
    GENESIS_TRY(auto labels, read_labels(list));
    all.push_back(std::move(labels));
    return all;
  }
  for (const json::value& item : list) {
    if (!item.is_array()) {
      return unusable("a prediction is not a list");
    }
    GENESIS_TRY(auto labels, read_labels(item.get_array()));
    all.push_back(std::move(labels));
  }
  return all;
}

Result<EmbedAnswer> read_answer(const json::array& list, const EmbedInput& input) {
  EmbedAnswer answer;
  std::size_t count = 0;
  switch (input.task) {
    case EmbedTask::kEmbed: {
      GENESIS_TRY(answer.vectors, read_vectors(list));
      count = answer.vectors.size();
      break;
    }
    case EmbedTask::kRerank: {
      GENESIS_TRY(answer.scores, read_ranks(list));
      count = answer.scores.size();
      break;
    }
    case EmbedTask::kSimilarity: {
      GENESIS_TRY(answer.scores, read_scores(list));
      count = answer.scores.size();
      break;
    }
    case EmbedTask::kPredict: {
      GENESIS_TRY(answer.labels, read_predictions(list));
      count = answer.labels.size();
      break;
    }
  }
  if (count != input.size()) {
    return unusable(fmt::format("{} results for {} texts", count, input.size()));
  }
  return answer;
}

std::optional<Usage> read_usage(const net::Headers& headers) {
  const auto text = headers.get("x-compute-tokens");
  std::int64_t count = -1;
  if (text) {
    std::from_chars(text->data(), text->data() + text->size(), count);
  }
  return count < 0 || count > kMaxUsageTokens ? std::nullopt : std::optional(Usage{.input = count});
}

}  // namespace

std::string_view tei_target(EmbedTask task) {
  switch (task) {
    case EmbedTask::kRerank:
      return "/rerank";
    case EmbedTask::kPredict:
      return "/predict";
    case EmbedTask::kSimilarity:
      return "/similarity";
    case EmbedTask::kEmbed:
      break;
  }
  return "/embed";
}

std::string tei_request_body(const ChatRequest& request) {
  const ChatInput& input = *request.input;
  return request.dialect == Dialect::kTei && !input.native.empty() ? input.native
                                                                   : write_body(*input.embed);
}

TeiReader::TeiReader(const ChatRequest& request, std::string endpoint, const Clock& clock)
    : request_(request), endpoint_(std::move(endpoint)), clock_(clock) {}

Result<AnswerPart> TeiReader::read_event(net::SseEvent&) {
  return fail(ErrorCode::kUpstream,
              fmt::format("endpoint '{}' streamed where a body was asked for", endpoint_));
}

Result<AnswerPart> TeiReader::read_body(std::string& body, const net::Headers& headers) {
  const auto read = [&]() -> Result<AnswerPart> {
    GENESIS_TRY(const json::value value, parse_json(body));
    if (value.is_object()) {
      if (const auto told = find_upstream_error(value.get_object())) {
        return AnswerPart{.error = error_in_stream(*told, endpoint_)};
      }
    }
    if (!value.is_array()) {
      return unusable("not a list");
    }
    GENESIS_TRY(auto answer, read_answer(value.get_array(), *request_.input->embed));
    AnswerPart part{.usage = read_usage(headers)};
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
  if (request_.dialect == Dialect::kTei && !part->deltas.empty()) {
    part->deltas.front().raw = std::move(body);
  }
  return part;
}

Error TeiReader::read_refusal(int status, const net::Headers& headers, std::string_view body) {
  return error_from_response(status, headers, body, endpoint_, clock_.unix_ms());
}

}  // namespace genesis::provider
