// Tokenizer from a tokenizer.json document, the format of the `tokenizers` package. Its
// "truncation" and "padding" blocks are defaults of a training script, not of the model:
// transformers overrides them on every call, and so they are not read here.
#include "base/json.h"
#include "text/model_json.h"
#include "text/pipeline.h"
#include "text/vocabulary.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxBytes = 256 * 1024 * 1024;

std::unexpected<Error> bad(std::string param, std::string message) {
  return fail_param(std::move(param), std::move(message), ErrorCode::kDataLoss);
}

// The member, or `absent` where there is none.
const boost::json::value& member(const boost::json::object& object,
                                 std::string_view key,
                                 const boost::json::value& absent) {
  const boost::json::value* found = object.if_contains(key);
  return found != nullptr ? *found : absent;
}

Result<AddedToken> read_added_token(const boost::json::value& json) {
  constexpr std::string_view kPrefix = "added_tokens.";
  if (!json.is_object()) {
    return bad("added_tokens", "every entry must be an object");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(auto content, get_string(object, "content", kPrefix));
  GENESIS_TRY(const auto id, get_integer(object, "id", kPrefix));
  if (!content || content->empty() || content->size() > kMaxAddedTokenBytes) {
    return bad("added_tokens.content", fmt::format("must be 1 to {} bytes", kMaxAddedTokenBytes));
  }
  if (!id || *id < 0 || *id >= kMaxTokenId) {
    return bad("added_tokens.id",
               fmt::format("token '{}' has no id between 0 and {}", *content, kMaxTokenId - 1));
  }
  AddedToken token;
  token.content = std::move(*content);
  token.id = static_cast<std::int32_t>(*id);
  const std::pair<std::string_view, bool*> flags[] = {{"special", &token.special},
                                                      {"single_word", &token.single_word},
                                                      {"lstrip", &token.lstrip},
                                                      {"rstrip", &token.rstrip},
                                                      {"normalized", &token.normalized}};
  for (const auto& [key, flag] : flags) {
    GENESIS_TRY(const auto value, get_bool(object, key, kPrefix));
    *flag = value.value_or(false);
  }
  return token;
}

// `tokenizers` gives an added token the model's id for its content, or else the next free id, and
// only warns when the file says otherwise. A file that disagrees with itself is refused here.
Result<std::vector<AddedToken>> read_added_tokens(const boost::json::object& root,
                                                  const TokenModel& model) {
  const boost::json::value none;
  std::vector<AddedToken> out;
  const boost::json::value& json = member(root, "added_tokens", none);
  if (json.is_null()) {
    return out;
  }
  if (!json.is_array() || json.get_array().size() > kMaxAddedTokens) {
    return bad("added_tokens", fmt::format("must be an array of at most {}", kMaxAddedTokens));
  }
  std::unordered_set<std::string> seen;
  std::int32_t next_id = model.token_count();
  for (const boost::json::value& entry : json.get_array()) {
    GENESIS_TRY(AddedToken token, read_added_token(entry));
    if (!seen.insert(token.content).second) {
      return bad("added_tokens", fmt::format("token '{}' is there twice", token.content));
    }
    const std::int32_t expected = model.find(token.content).value_or(next_id);
    if (token.id != expected) {
      return bad("added_tokens",
                 fmt::format("token '{}' has id {}, but the vocabulary makes it {}",
                             token.content,
                             token.id,
                             expected));
    }
    next_id = std::max(next_id, token.id + 1);
    out.push_back(std::move(token));
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_tokenizer_json(std::string_view json) {
  if (json.size() > kMaxBytes) {
    return bad("tokenizer.json",
               fmt::format("{} bytes; at most {} are read", json.size(), kMaxBytes));
  }
  GENESIS_TRY(const boost::json::value document, parse_json(json));
  if (!document.is_object()) {
    return bad("tokenizer.json", "must be a JSON object");
  }
  const boost::json::object& root = document.get_object();
  const boost::json::value none;
  const boost::json::value& model_json = member(root, "model", none);
  if (!model_json.is_object()) {
    return bad("model", "a tokenizer.json needs a 'model' object");
  }
  const auto table = std::make_shared<const CharTable>();
  GENESIS_TRY(auto normalizer, parse_normalizer(member(root, "normalizer", none), table));
  GENESIS_TRY(auto plan,
              parse_pre_tokenizer(member(root, "pre_tokenizer", none),
                                  table,
                                  {.bytes_wanted = takes_bytes(model_json.get_object()),
                                   .after_normalizer = normalizer != nullptr}));
  GENESIS_TRY(Decoder decoder, Decoder::parse(member(root, "decoder", none), table));
  GENESIS_TRY(auto model, parse_model(model_json.get_object(), plan.byte_level));
  GENESIS_TRY(auto added, read_added_tokens(root, *model));
  std::int32_t vocab_size = model->size();
  for (const AddedToken& token : added) {
    vocab_size = std::max(vocab_size, token.id + 1);
  }
  GENESIS_TRY(auto post, PostProcessor::parse(member(root, "post_processor", none), vocab_size));
  const std::optional<std::int32_t> bos_id = post.first_id();
  return make_tokenizer({.model = std::move(model),
                         .added_tokens = std::move(added),
                         .normalizer = std::move(normalizer),
                         .pre_tokenizer = std::move(plan.chain),
                         .needs_origin = plan.needs_origin,
                         .spells_bytes = plan.byte_level,
                         .post_processor = std::move(post),
                         .decoder = std::move(decoder),
                         .table = table,
                         .bos_id = bos_id,
                         .end_ids = {}});
}

}  // namespace genesis::text
