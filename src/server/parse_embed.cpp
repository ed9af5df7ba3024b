#include "server/parse_embed.h"

#include "base/json.h"
#include "server/errors.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <limits>

namespace genesis::server {

namespace json = boost::json;

namespace {

constexpr int kMaxDimensions = 16'384;  // several times the widest model known

std::unexpected<Error> bad_inputs(const std::string& field) {
  return fail_param(
      field,
      fmt::format("'{}' must be a text, a list of texts, or token ids in one of these ways",
                  field));
}

// TEI tells an empty batch by a word of its own.
std::unexpected<Error> empty_inputs(const std::string& field) {
  auto error = fail_param(field, fmt::format("'{}' cannot be empty", field));
  error.error().type = kTeiEmpty;
  return error;
}

Result<void> check_count(const std::string& field, std::size_t count, std::size_t most) {
  if (count == 0) {
    return empty_inputs(field);
  }
  if (count > most) {
    // TEI's word for it, and its status.
    return fail_param(
        field,
        fmt::format("batch size {} > maximum allowed batch size {}", count, most),
        most == kMaxTeiBatch ? ErrorCode::kPayloadTooLarge : ErrorCode::kInvalidArgument);
  }
  return {};
}

Result<std::vector<std::int32_t>> token_list(const json::array& list, const std::string& place) {
  if (list.empty()) {
    return empty_inputs(place);
  }
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const json::value& item : list) {
    const std::int64_t id = item.is_int64() ? item.get_int64() : -1;
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
      return fail_param(place, fmt::format("'{}' must hold token ids only", place));
    }
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

// One entry of a list of inputs.
Result<void> add_input(const json::value& item, const std::string& place, EmbedInput& input) {
  if (item.is_string() && input.token_lists.empty()) {
    if (item.get_string().empty()) {
      return empty_inputs(place);
    }
    input.texts.emplace_back(item.get_string());
    return {};
  }
  if (item.is_array() && input.texts.empty()) {
    GENESIS_TRY(auto ids, token_list(item.get_array(), place));
    input.token_lists.push_back(std::move(ids));
    return {};
  }
  return bad_inputs(place);
}

// A text, a list of texts, a list of token ids, or a list of such lists.
Result<void> read_inputs(const json::object& body,
                         const std::string& field,
                         std::size_t most,
                         EmbedInput& input) {
  if (!is_given(body, field)) {
    return fail_param(field, fmt::format("'{}' is required", field));
  }
  const json::value& value = body.at(field);
  if (value.is_string()) {
    return add_input(value, field, input);
  }
  const json::array* list = value.if_array();
  if (list == nullptr) {
    return bad_inputs(field);
  }
  if (!list->empty() && list->front().is_number()) {
    GENESIS_TRY(auto ids, token_list(*list, field));
    input.token_lists.push_back(std::move(ids));
    return {};
  }
  GENESIS_TRY_VOID(check_count(field, list->size(), most));
  for (std::size_t i = 0; i < list->size(); ++i) {
    GENESIS_TRY_VOID(add_input((*list)[i], fmt::format("{}[{}]", field, i), input));
  }
  return {};
}

Result<std::vector<std::string>> read_texts(const json::object& body,
                                            std::string_view key,
                                            const std::string& prefix,
                                            std::size_t most) {
  const std::string field = prefix + std::string(key);
  const json::value* value = body.if_contains(key);
  const json::array* list = value == nullptr ? nullptr : value->if_array();
  if (list == nullptr) {
    return fail_param(field, fmt::format("'{}' must be a list of texts", field));
  }
  GENESIS_TRY_VOID(check_count(field, list->size(), most));
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const json::value& item = (*list)[i];
    const std::string place = fmt::format("{}[{}]", field, i);
    // Cohere's documents may be objects with a `text`.
    const json::value* text = item.is_object() ? item.get_object().if_contains("text") : &item;
    if (text == nullptr || !text->is_string()) {
      return fail_param(place, fmt::format("'{}' must be a text", place));
    }
    texts.emplace_back(text->get_string());
  }
  return texts;
}

Result<std::string> required_text(const json::object& body,
                                  std::string_view key,
                                  const std::string& prefix = {}) {
  GENESIS_TRY(auto text, get_string(body, key, prefix));
  if (!text || text->empty()) {
    const std::string field = prefix + std::string(key);
    return fail_param(field, fmt::format("'{}' is required", field));
  }
  return *std::move(text);
}

Result<void> read_dimensions(const json::object& body, EmbedInput& input) {
  GENESIS_TRY(input.dimensions, get_int(body, "dimensions"));
  if (input.dimensions && (*input.dimensions < 1 || *input.dimensions > kMaxDimensions)) {
    return fail_param("dimensions",
                      fmt::format("'dimensions' must be between 1 and {}", kMaxDimensions));
  }
  return {};
}

// What TEI's routes have in common.
Result<void> read_tei_options(const json::object& body, EmbedInput& input) {
  GENESIS_TRY(const auto truncate, get_bool(body, "truncate"));
  input.truncate = truncate.value_or(false);
  GENESIS_TRY(const auto direction, get_string(body, "truncation_direction"));
  if (direction && *direction != "Left" && *direction != "Right" && *direction != "left" &&
      *direction != "right") {
    return fail_param("truncation_direction", "'truncation_direction' must be Left or Right");
  }
  GENESIS_TRY(auto prompt, get_string(body, "prompt_name"));
  input.prompt_name = std::move(prompt).value_or("");
  GENESIS_TRY(const auto raw, get_bool(body, "raw_scores"));
  input.raw_scores = raw.value_or(false);
  return {};
}

InferenceCall make_call(Dialect dialect, EmbedInput embed) {
  InferenceCall call;
  call.request.dialect = dialect;
  call.request.sampling.max_tokens = 0;  // nothing is generated: nothing to reserve for it
  auto input = std::make_shared<ChatInput>();
  input->embed = std::move(embed);
  call.request.input = std::move(input);
  return call;
}

// TEI itself serves one model and ignores a `model`; here it names the route.
Result<InferenceCall> make_tei_call(std::string_view text,
                                    const json::object& body,
                                    EmbedInput embed) {
  GENESIS_TRY(auto model, get_string(body, "model"));
  InferenceCall call = make_call(Dialect::kTei, std::move(embed));
  call.request.route = std::move(model).value_or("");
  call.open_input().native = text;
  return call;
}

// A pair or a single text, as an entry of a batch.
Result<void> add_prediction(const json::value& item, const std::string& place, EmbedInput& input) {
  const json::array* pair = item.if_array();
  const std::size_t size = pair == nullptr ? 1 : pair->size();
  const json::value* first = pair == nullptr ? &item : size > 0 ? &pair->front() : nullptr;
  const bool texts =
      first != nullptr && first->is_string() && size <= 2 && (size < 2 || pair->back().is_string());
  if (!texts) {
    return fail_param(place, fmt::format("'{}' must be a text or a pair of texts", place));
  }
  input.texts.emplace_back(first->get_string());
  input.pairs.emplace_back(size == 2 ? std::string(pair->back().get_string()) : std::string());
  return {};
}

}  // namespace

Result<InferenceCall> parse_embeddings_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  EmbedInput embed;
  GENESIS_TRY_VOID(read_inputs(body, "input", kMaxEmbedInputs, embed));
  GENESIS_TRY_VOID(read_dimensions(body, embed));
  GENESIS_TRY(const auto encoding, get_string(body, "encoding_format"));
  if (encoding && *encoding != "float" && *encoding != "base64") {
    return fail_param("encoding_format", "'encoding_format' must be float or base64");
  }
  GENESIS_TRY(auto user, get_string(body, "user"));
  GENESIS_TRY(auto model, get_string(body, "model"));
  InferenceCall call = make_call(Dialect::kEmbeddings, std::move(embed));
  call.request.route = std::move(model).value_or("");
  call.session_hint = std::move(user).value_or("");
  call.wire.base64 = encoding == "base64";
  call.open_input().body = text;
  return call;
}

Result<InferenceCall> parse_tei_embed_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  EmbedInput embed;
  GENESIS_TRY_VOID(read_inputs(body, "inputs", kMaxTeiBatch, embed));
  GENESIS_TRY_VOID(read_dimensions(body, embed));
  GENESIS_TRY_VOID(read_tei_options(body, embed));
  GENESIS_TRY(const auto normalize, get_bool(body, "normalize"));
  embed.normalize = normalize.value_or(true);
  return make_tei_call(text, body, std::move(embed));
}

Result<InferenceCall> parse_tei_rerank_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  EmbedInput embed{.task = EmbedTask::kRerank};
  GENESIS_TRY(embed.query, required_text(body, "query"));
  GENESIS_TRY(embed.texts, read_texts(body, "texts", {}, kMaxTeiBatch));
  GENESIS_TRY_VOID(read_tei_options(body, embed));
  GENESIS_TRY(const auto with_text, get_bool(body, "return_text"));
  GENESIS_TRY(auto call, make_tei_call(text, body, std::move(embed)));
  call.wire.return_text = with_text.value_or(false);
  return call;
}

Result<InferenceCall> parse_tei_predict_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  EmbedInput embed{.task = EmbedTask::kPredict};
  if (!is_given(body, "inputs")) {
    return fail_param("inputs", "'inputs' is required");
  }
  const json::value& inputs = body.at("inputs");
  const json::array* list = inputs.if_array();
  // A bare text, or a pair of texts, is one input; a list of lists is a batch.
  const bool single = list == nullptr || (!list->empty() && list->front().is_string());
  if (single) {
    GENESIS_TRY_VOID(add_prediction(inputs, "inputs", embed));
  } else {
    GENESIS_TRY_VOID(check_count("inputs", list->size(), kMaxTeiBatch));
    for (std::size_t i = 0; i < list->size(); ++i) {
      GENESIS_TRY_VOID(add_prediction((*list)[i], fmt::format("inputs[{}]", i), embed));
    }
  }
  GENESIS_TRY_VOID(read_tei_options(body, embed));
  if (std::ranges::all_of(embed.pairs, [](const std::string& pair) { return pair.empty(); })) {
    embed.pairs.clear();
  }
  GENESIS_TRY(auto call, make_tei_call(text, body, std::move(embed)));
  call.wire.single = single;
  return call;
}

Result<InferenceCall> parse_tei_similarity_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  const json::value* inputs = body.if_contains("inputs");
  if (inputs == nullptr || !inputs->is_object()) {
    return fail_param("inputs", "'inputs' must be an object");
  }
  EmbedInput embed{.task = EmbedTask::kSimilarity};
  const json::object& pair = inputs->get_object();
  GENESIS_TRY(embed.query, required_text(pair, "source_sentence", "inputs."));
  GENESIS_TRY(embed.texts, read_texts(pair, "sentences", "inputs.", kMaxTeiBatch));
  if (is_given(body, "parameters")) {
    const json::object* parameters = body.at("parameters").if_object();
    if (parameters == nullptr) {
      return fail_param("parameters", "'parameters' must be an object");
    }
    GENESIS_TRY_VOID(read_tei_options(*parameters, embed));
  }
  return make_tei_call(text, body, std::move(embed));
}

Result<InferenceCall> parse_rerank_request(std::string_view text) {
  GENESIS_TRY(const json::object body, parse_object(text));
  EmbedInput embed{.task = EmbedTask::kRerank};
  GENESIS_TRY(embed.query, required_text(body, "query"));
  GENESIS_TRY(embed.texts, read_texts(body, "documents", {}, kMaxRerankTexts));
  GENESIS_TRY(const auto top, get_int(body, "top_n"));
  if (top && *top < 1) {
    return fail_param("top_n", "'top_n' must be at least 1");
  }
  GENESIS_TRY(const auto with_text, get_bool(body, "return_documents"));
  GENESIS_TRY(auto model, get_string(body, "model"));
  // Without `native`: an upstream gets TEI's words instead of these.
  InferenceCall call = make_call(Dialect::kTei, std::move(embed));
  call.request.route = std::move(model).value_or("");
  call.wire.return_text = with_text.value_or(false);
  call.wire.top_n = top.value_or(0);
  return call;
}

}  // namespace genesis::server
