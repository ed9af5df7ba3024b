#include "server/parse_tgi.h"

#include "base/json.h"
#include "server/fields.h"
#include "server/parse_format.h"

#include <boost/json.hpp>
#include <fmt/format.h>

namespace genesis::server {

namespace json = boost::json;

namespace {

constexpr std::string_view kPrefix = "parameters.";

std::unexpected<Error> refuse(std::string_view field, std::string message) {
  return fail_param(fmt::format("{}{}", kPrefix, field), std::move(message));
}

std::unexpected<Error> unsupported(std::string_view field) {
  return fail_param(fmt::format("{}{}", kPrefix, field),
                    fmt::format("`{}` is not supported", field),
                    ErrorCode::kUnsupported);
}

Result<void> refuse_unsupported(const json::object& parameters) {
  GENESIS_TRY(const auto truncate, get_integer(parameters, "truncate", kPrefix));
  if (truncate && *truncate <= 0) {
    return refuse("truncate", "`truncate` must be strictly positive");
  }
  GENESIS_TRY(const auto watermark, get_bool(parameters, "watermark", kPrefix));
  if (watermark.value_or(false)) {
    return unsupported("watermark");
  }
  for (const std::string_view field : {"truncate", "adapter_id"}) {
    if (is_given(parameters, field)) {
      return unsupported(field);
    }
  }
  return {};
}

// temperature, top_k, top_p, typical_p and what they decide: whether to sample at all.
Result<bool> read_warpers(const json::object& parameters, bool do_sample, Sampling& sampling) {
  GENESIS_TRY(const auto temperature, get_number(parameters, "temperature", kPrefix));
  if (temperature && *temperature <= 0.0) {
    return refuse("temperature", "`temperature` must be strictly positive");
  }
  GENESIS_TRY(const auto top_p, get_number(parameters, "top_p", kPrefix));
  if (top_p && (*top_p <= 0.0 || *top_p >= 1.0)) {
    return refuse("top_p", "`top_p` must be > 0.0 and < 1.0");
  }
  GENESIS_TRY(const auto top_k, get_int(parameters, "top_k", kPrefix));
  if (top_k && *top_k <= 0) {
    return refuse("top_k", "`top_k` must be strictly positive");
  }
  GENESIS_TRY(const auto typical_p, get_number(parameters, "typical_p", kPrefix));
  if (typical_p && (*typical_p <= 0.0 || *typical_p >= 1.0)) {
    return refuse("typical_p", "`typical_p` must be > 0.0 and < 1.0");
  }
  const bool warped = (temperature && *temperature != 1.0) || top_p || top_k || typical_p;
  if (!do_sample && !warped) {
    sampling.temperature = 0.0;
    return false;
  }
  sampling.temperature = temperature.value_or(1.0);
  sampling.top_p = top_p.value_or(1.0);
  sampling.top_k = top_k.value_or(0);
  sampling.typical_p = typical_p.value_or(1.0);
  return true;
}

Result<void> read_penalties(const json::object& parameters, Sampling& sampling) {
  GENESIS_TRY(const auto repetition, get_number(parameters, "repetition_penalty", kPrefix));
  if (repetition && *repetition <= 0.0) {
    return refuse("repetition_penalty", "`repetition_penalty` must be strictly positive");
  }
  GENESIS_TRY(const auto frequency, get_number(parameters, "frequency_penalty", kPrefix));
  if (frequency && (*frequency < -2.0 || *frequency > 2.0)) {
    return refuse("frequency_penalty", "`frequency_penalty` must be >= -2.0 and <= 2.0");
  }
  sampling.repetition_penalty = repetition.value_or(1.0);
  sampling.frequency_penalty = frequency.value_or(0.0);
  return {};
}

Result<void> read_lengths(const json::object& parameters, Sampling& sampling) {
  GENESIS_TRY(sampling.max_tokens, get_int(parameters, "max_new_tokens", kPrefix));
  if (sampling.max_tokens && *sampling.max_tokens <= 0) {
    return refuse("max_new_tokens", "`max_new_tokens` must be strictly positive");
  }
  GENESIS_TRY(sampling.stop, get_strings(parameters, "stop", kPrefix));
  if (sampling.stop.size() > kTgiMaxStopSequences) {
    return refuse("stop",
                  fmt::format("`stop` supports up to {} stop sequences. Given: {}",
                              kTgiMaxStopSequences,
                              sampling.stop.size()));
  }
  return {};
}

// best_of is checked as TGI does, then refused: one sequence per request here.
Result<void> check_best_of(const json::object& parameters, bool sampled, bool stream) {
  GENESIS_TRY(const auto best_of, get_integer(parameters, "best_of", kPrefix));
  if (!best_of || *best_of == 1) {
    return {};
  }
  if (*best_of <= 0) {
    return refuse("best_of", fmt::format("`best_of` must be > 0 and <= 1. Given: {}", *best_of));
  }
  if (stream) {
    return refuse("best_of", "`best_of` != 1 is not supported when streaming tokens");
  }
  if (!sampled) {
    return refuse("best_of", "you must use sampling when `best_of` is > 1");
  }
  if (is_given(parameters, "seed")) {
    return refuse("best_of", "`seed` must not be set when `best_of` > 1");
  }
  return refuse("best_of", "`best_of` != 1 is not allowed for this endpoint");
}

Result<std::optional<std::uint64_t>> read_seed(const json::object& parameters) {
  const json::value* seed = parameters.if_contains("seed");
  if (seed != nullptr && seed->is_int64() && seed->get_int64() < 0) {
    return refuse("seed", "`seed` must be positive");
  }
  return get_seed(parameters, "seed", kPrefix);
}

Result<void> read_details(const json::object& parameters, InferenceCall& call) {
  Sampling& sampling = call.request.sampling;
  GENESIS_TRY(const auto details, get_bool(parameters, "details", kPrefix));
  GENESIS_TRY(const auto prefill, get_bool(parameters, "decoder_input_details", kPrefix));
  sampling.want_prompt_logprobs = prefill.value_or(false);
  if (sampling.want_prompt_logprobs && call.request.stream) {
    return refuse("decoder_input_details",
                  "`decoder_input_details` == true is not supported when streaming tokens");
  }
  GENESIS_TRY(const auto top, get_int(parameters, "top_n_tokens", kPrefix));
  if (top && (*top < 0 || *top > kTgiMaxTopNTokens)) {
    return refuse(
        "top_n_tokens",
        fmt::format("`top_n_tokens` must be >= 0 and <= {}. Given: {}", kTgiMaxTopNTokens, *top));
  }
  GENESIS_TRY(const auto full_text, get_bool(parameters, "return_full_text", kPrefix));
  call.wire.details = details.value_or(false) || sampling.want_prompt_logprobs;
  call.wire.return_full_text = full_text.value_or(false);
  // Every event of a stream carries its token's id and logprob; a plain answer only with details.
  sampling.want_logprobs = call.request.stream || call.wire.details;
  sampling.top_logprobs = sampling.want_logprobs ? top.value_or(0) : 0;
  return {};
}

Result<void> read_parameters(const json::object& parameters,
                             bool sample_default,
                             InferenceCall& call) {
  Sampling& sampling = call.request.sampling;
  GENESIS_TRY(const auto do_sample, get_bool(parameters, "do_sample", kPrefix));
  GENESIS_TRY(call.wire.sampled,
              read_warpers(parameters, do_sample.value_or(sample_default), sampling));
  GENESIS_TRY_VOID(check_best_of(parameters, call.wire.sampled, call.request.stream));
  GENESIS_TRY_VOID(refuse_unsupported(parameters));
  GENESIS_TRY_VOID(read_penalties(parameters, sampling));
  GENESIS_TRY_VOID(read_lengths(parameters, sampling));
  GENESIS_TRY(sampling.seed, read_seed(parameters));
  GENESIS_TRY_VOID(read_details(parameters, call));
  sampling.include_stop_in_output = true;
  return validate_sampling(sampling);
}

Result<bool> wants_stream(const json::object& body, TgiRoute route) {
  if (route != TgiRoute::kCompat) {
    return route == TgiRoute::kGenerateStream;
  }
  GENESIS_TRY(const auto stream, get_bool(body, "stream"));
  return stream.value_or(false);
}

Result<std::string> read_inputs(const json::object& body) {
  GENESIS_TRY(auto inputs, get_string(body, "inputs"));
  if (!inputs) {
    Error error;
    error.code = ErrorCode::kInvalidArgument;
    error.message = "`inputs` is required";
    error.param = "inputs";
    error.hint = body.contains("messages") ? "post chats to /v1/chat/completions" : "";
    return std::unexpected(std::move(error));
  }
  if (inputs->empty()) {
    return fail_param("inputs", "`inputs` cannot be empty");
  }
  return std::move(*inputs);
}

}  // namespace

Result<InferenceCall> parse_tgi_request(std::string_view text, TgiRoute route) {
  GENESIS_TRY(const json::object body, parse_object(text));
  InferenceCall call;
  call.request.dialect = Dialect::kTgi;
  GENESIS_TRY(call.request.stream, wants_stream(body, route));
  auto input = std::make_shared<ChatInput>();
  GENESIS_TRY(input->prompt, read_inputs(body));
  input->native = text;
  call.request.input = std::move(input);
  const bool given = is_given(body, "parameters");
  if (given && !body.at("parameters").is_object()) {
    return fail_param("parameters", "`parameters` must be an object");
  }
  const json::object parameters = given ? body.at("parameters").get_object() : json::object();
  GENESIS_TRY_VOID(read_parameters(parameters, !given, call));
  if (is_given(parameters, "grammar")) {
    ChatInput& open = call.open_input();
    GENESIS_TRY(open.format, read_tgi_grammar(parameters.at("grammar"), kPrefix));
    open.demands.push_back(open.format.field);
  }
  return call;
}

}  // namespace genesis::server
