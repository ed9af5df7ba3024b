#include "endpoint/features.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace genesis::endpoint {

namespace {

// English has about four bytes to a token, and chat templates add a few tokens to each message.
// For choosing only; money is reserved on an upper bound of its own.
constexpr std::size_t kBytesPerToken = 4;
constexpr std::int64_t kTokensPerMessage = 4;
// A prompt that is no conversation shares a prefix when so much of its beginning is the same.
constexpr std::size_t kPromptPrefix = 512;

std::size_t text_bytes(const ChatInput& input) {
  std::size_t bytes = input.prompt.size() + input.tools_json.size();
  for (const ChatMessage& message : input.messages) {
    bytes += message.content.size() + message.reasoning.size() + message.tool_calls_json.size();
  }
  if (input.embed) {
    bytes += input.embed->query.size();
    for (const auto* texts : {&input.embed->texts, &input.embed->pairs}) {
      for (const std::string& text : *texts) {
        bytes += text.size();
      }
    }
  }
  return bytes;
}

std::size_t given_tokens(const ChatInput& input) {
  std::size_t tokens = input.prompt_tokens.size();
  if (input.embed) {
    for (const auto& list : input.embed->token_lists) {
      tokens += list.size();
    }
  }
  return tokens;
}

void mix(std::uint64_t& hash, std::string_view text) {
  // boost::hash_combine's constant; std::hash of a text is the same in every process of one build.
  hash ^= std::hash<std::string_view>{}(text) + 0x9E3779B97F4A7C15ULL + (hash << 6U) + (hash >> 2U);
}

std::uint64_t prefix_of(const ChatInput& input) {
  std::uint64_t hash = 0;
  if (!input.tools_json.empty()) {
    mix(hash, input.tools_json);
  }
  for (const ChatMessage& message : input.messages) {
    if (message.role != "system" && message.role != "developer") {
      break;
    }
    mix(hash, message.content);
  }
  if (input.prompt.size() >= kPromptPrefix) {
    mix(hash, std::string_view(input.prompt).substr(0, kPromptPrefix));
  }
  return hash;
}

}  // namespace

RouteFeatures make_features(const ChatRequest& request, double draw, SteadyTime now) {
  const ChatInput& input = *request.input;
  const std::size_t bytes = text_bytes(input);
  const auto in_text = static_cast<std::int64_t>((bytes + kBytesPerToken - 1) / kBytesPerToken);
  const auto given = static_cast<std::int64_t>(given_tokens(input));
  return {.request_id = request.id,
          .route = request.route,
          .tenant = request.tenant,
          .key_id = request.key_id,
          .caller = request.caller,
          .dialect = request.dialect,
          .stream = request.stream,
          .has_tools = !input.tools_json.empty(),
          .has_images = std::ranges::any_of(
              input.messages, [](const auto& message) { return !message.parts_json.empty(); }),
          .prompt_bytes = bytes + kBytesPerToken * static_cast<std::size_t>(given),
          .input_tokens = in_text + given + kTokensPerMessage * std::ssize(input.messages),
          .output_tokens = std::int64_t{request.sampling.max_tokens.value_or(0)} * request.n,
          .prefix = prefix_of(input),
          .draw = draw,
          .now = now};
}

}  // namespace genesis::endpoint
