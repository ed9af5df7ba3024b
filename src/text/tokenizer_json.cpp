// Tokenizer from a tokenizer.json document, the format of the `tokenizers` package. Its
// "truncation" and "padding" blocks are defaults of a training script, not of the model:
// transformers overrides them on every call, and so they are not read here.
#include "base/json.h"
#include "text/pipeline.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxBytes = 256 * 1024 * 1024;

std::unexpected<Error> unsupported(std::string param, std::string message) {
  return fail_param(std::move(param), std::move(message), ErrorCode::kUnsupported);
}

std::unexpected<Error> bad(std::string param, std::string message) {
  return fail_param(std::move(param), std::move(message), ErrorCode::kDataLoss);
}

std::string_view view(const boost::json::string& text) {
  return {text.data(), text.size()};
}

// The member, or `absent` where there is none.
const boost::json::value& member(const boost::json::object& object,
                                 std::string_view key,
                                 const boost::json::value& absent) {
  const boost::json::value* found = object.if_contains(key);
  return found != nullptr ? *found : absent;
}

Result<void> read_vocabulary(const boost::json::object& model, BpeSource& source) {
  const boost::json::value none;
  const boost::json::value& vocabulary = member(model, "vocab", none);
  if (!vocabulary.is_object()) {
    return bad("model.vocab", "must be an object of token: id");
  }
  source.vocabulary.reserve(vocabulary.get_object().size());
  for (const auto& [token, id] : vocabulary.get_object()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() >= kMaxTokenId) {
      return bad("model.vocab",
                 fmt::format("the id of token '{}' is not between 0 and {}",
                             std::string_view(token),
                             kMaxTokenId - 1));
    }
    source.vocabulary.emplace_back(token, static_cast<std::int32_t>(id.get_int64()));
  }
  return {};
}

// Either "left right" or ["left", "right"].
Result<void> read_merge(const boost::json::value& merge, BpeSource& source) {
  if (merge.is_array() && merge.get_array().size() == 2 && merge.get_array()[0].is_string() &&
      merge.get_array()[1].is_string()) {
    source.merges.emplace_back(view(merge.get_array()[0].get_string()),
                               view(merge.get_array()[1].get_string()));
    return {};
  }
  if (merge.is_string()) {
    const std::string_view line = view(merge.get_string());
    const std::size_t space = line.find(' ');
    if (line.starts_with("#version")) {
      return {};
    }
    if (space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos) {
      source.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
      return {};
    }
  }
  return bad("model.merges", fmt::format("merge {} is not a pair of tokens", source.merges.size()));
}

// Options that would change the result and that we do not run.
Result<void> refuse_options(const boost::json::object& model) {
  GENESIS_TRY(const auto type, get_string(model, "type", "model."));
  if (type != "BPE") {
    return unsupported(
        "model.type",
        fmt::format("model '{}' is not supported, only byte-level BPE", type.value_or("null")));
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    GENESIS_TRY(const auto affix, get_string(model, key, "model."));
    if (affix && !affix->empty()) {
      return unsupported(fmt::format("model.{}", key),
                         fmt::format("{} '{}' is not supported", key, *affix));
    }
  }
  GENESIS_TRY(const auto dropout, get_number(model, "dropout", "model."));
  if (dropout.value_or(0.0) != 0.0) {
    return unsupported("model.dropout", "dropout makes encoding random and is not supported");
  }
  GENESIS_TRY(const auto byte_fallback, get_bool(model, "byte_fallback", "model."));
  if (byte_fallback.value_or(false)) {
    return unsupported("model.byte_fallback", "byte_fallback is not supported");
  }
  return {};
}

Result<BpeModel> read_model(const boost::json::object& root) {
  const boost::json::value none;
  const boost::json::value& json = member(root, "model", none);
  if (!json.is_object()) {
    return bad("model", "a tokenizer.json needs a 'model' object");
  }
  const boost::json::object& model = json.get_object();
  GENESIS_TRY_VOID(refuse_options(model));
  BpeSource source;
  GENESIS_TRY(source.unknown_token, get_string(model, "unk_token", "model."));
  GENESIS_TRY(const auto fuse, get_bool(model, "fuse_unk", "model."));
  GENESIS_TRY(const auto ignore, get_bool(model, "ignore_merges", "model."));
  source.fuse_unknown = fuse.value_or(false);
  source.ignore_merges = ignore.value_or(false);
  GENESIS_TRY_VOID(read_vocabulary(model, source));
  const boost::json::value& merges = member(model, "merges", none);
  if (!merges.is_array()) {
    return bad("model.merges", "must be an array");
  }
  source.merges.reserve(merges.get_array().size());
  for (const boost::json::value& merge : merges.get_array()) {
    GENESIS_TRY_VOID(read_merge(merge, source));
  }
  return BpeModel::build(source);
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
                                                  const BpeModel& model) {
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

Result<void> check_decoder(const boost::json::value& json) {
  const boost::json::value none;
  const boost::json::object* object = json.if_object();
  std::string type = "null";
  if (object != nullptr) {
    GENESIS_TRY(const auto named, get_string(*object, "type", "decoder."));
    type = named.value_or("null");
    const boost::json::value& inner = member(*object, "decoders", none);
    if (type == "Sequence" && inner.is_array() && inner.get_array().size() == 1 &&
        inner.get_array()[0].is_object() &&
        !inner.get_array()[0].get_object().contains("decoders")) {
      return check_decoder(inner.get_array()[0]);
    }
  }
  if (type != "ByteLevel") {
    return unsupported("decoder", fmt::format("decoder '{}' is not supported", type));
  }
  return {};
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
  const auto table = std::make_shared<const CharTable>();
  GENESIS_TRY(auto normalizer, parse_normalizer(member(root, "normalizer", none)));
  GENESIS_TRY(auto pre_tokenizer, parse_pre_tokenizer(member(root, "pre_tokenizer", none), table));
  GENESIS_TRY_VOID(check_decoder(member(root, "decoder", none)));
  GENESIS_TRY(BpeModel model, read_model(root));
  GENESIS_TRY(auto added, read_added_tokens(root, model));
  std::int32_t vocab_size = model.size();
  for (const AddedToken& token : added) {
    vocab_size = std::max(vocab_size, token.id + 1);
  }
  GENESIS_TRY(auto post, PostProcessor::parse(member(root, "post_processor", none), vocab_size));
  const std::optional<std::int32_t> bos_id = post.first_id();
  return make_tokenizer({.model = std::move(model),
                         .added_tokens = std::move(added),
                         .normalizer = std::move(normalizer),
                         .pre_tokenizer = std::move(pre_tokenizer),
                         .post_processor = std::move(post),
                         .table = table,
                         .bos_id = bos_id,
                         .end_ids = {}});
}

}  // namespace genesis::text
