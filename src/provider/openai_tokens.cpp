#include "provider/openai_tokens.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <limits>

namespace genesis::provider {

namespace {

namespace json = boost::json;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::kUpstream, fmt::format("'{}' has an unexpected shape", what));
}

float to_logprob(const json::value& value) {
  return value.is_number() ? value.to_number<float>() : std::numeric_limits<float>::quiet_NaN();
}

// `bytes` when given, since `token` cannot hold a part of a UTF-8 character.
std::string token_text(const json::object& token) {
  std::string text;
  if (const json::value* bytes = token.if_contains("bytes");
      bytes != nullptr && bytes->is_array()) {
    for (const json::value& byte : bytes->get_array()) {
      if (!byte.is_int64() || byte.get_int64() < 0 || byte.get_int64() > 255) {
        return {};
      }
      text.push_back(static_cast<char>(byte.get_int64()));
    }
    return text;
  }
  const json::value* name = token.if_contains("token");
  return name != nullptr && name->is_string() ? std::string(name->get_string()) : text;
}

const json::array* list_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_array();
}

}  // namespace

Result<std::vector<TokenInfo>> read_chat_tokens(const json::object& logprobs) {
  std::vector<TokenInfo> tokens;
  const json::array* content = list_of(logprobs, "content");
  if (content == nullptr) {
    return tokens;
  }
  for (const json::value& item : *content) {
    const json::object* entry = item.if_object();
    if (entry == nullptr || !entry->contains("logprob")) {
      return malformed("logprobs.content");
    }
    TokenInfo token{.text = token_text(*entry), .logprob = to_logprob(entry->at("logprob"))};
    if (const json::array* top = list_of(*entry, "top_logprobs")) {
      for (const json::value& other : *top) {
        const json::object* alternative = other.if_object();
        if (alternative == nullptr || !alternative->contains("logprob")) {
          return malformed("logprobs.content.top_logprobs");
        }
        token.top.push_back(
            {.text = token_text(*alternative), .logprob = to_logprob(alternative->at("logprob"))});
      }
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<std::vector<TokenInfo>> read_completion_tokens(const json::object& logprobs) {
  std::vector<TokenInfo> tokens;
  const json::array* texts = list_of(logprobs, "tokens");
  const json::array* values = list_of(logprobs, "token_logprobs");
  if (texts == nullptr || values == nullptr) {
    return tokens;
  }
  const json::array* tops = list_of(logprobs, "top_logprobs");
  if (texts->size() != values->size() || (tops != nullptr && tops->size() != texts->size())) {
    return malformed("logprobs");
  }
  for (std::size_t i = 0; i < texts->size(); ++i) {
    if (!(*texts)[i].is_string()) {
      return malformed("logprobs.tokens");
    }
    TokenInfo token{.text = std::string((*texts)[i].get_string()),
                    .logprob = to_logprob((*values)[i])};
    const json::object* top = tops == nullptr ? nullptr : (*tops)[i].if_object();
    if (top != nullptr) {
      for (const auto& other : *top) {
        token.top.push_back(
            {.text = std::string(other.key()), .logprob = to_logprob(other.value())});
      }
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<std::vector<std::int32_t>> read_token_ids(const json::object& choice, std::string_view key) {
  std::vector<std::int32_t> ids;
  const json::array* list = list_of(choice, key);
  if (list == nullptr) {
    return ids;
  }
  ids.reserve(list->size());
  for (const json::value& item : *list) {
    const std::int64_t id = item.is_int64() ? item.get_int64() : -1;
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
      return malformed(key);
    }
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

}  // namespace genesis::provider
