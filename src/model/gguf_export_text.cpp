// tokenizer.json, tokenizer_config.json and the chat template -> GGUF's tokenizer.* keys. Names of
// pre-tokenizers and kinds of tokens are llama.cpp's (src/llama-vocab.cpp); GGUF cannot hold a
// tokenizer that has no such name, and then nothing is written.
#include "base/file.h"
#include "base/json.h"
#include "model/gguf_export.h"
#include "model/hf_folder.h"
#include "model/hf_spec.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

namespace genesis::model {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr std::size_t kMaxTokenizer = 256U << 20;  // Gemma's has 33 MB

// llama_token_type
enum TokenKind : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

std::unexpected<Error> bad(std::string message) {
  return fail_param("tokenizer.json", "tokenizer.json: " + message, ErrorCode::kDataLoss);
}

std::unexpected<Error> unsupported(std::string message) {
  return fail_param("tokenizer.json", "tokenizer.json: " + message, ErrorCode::kUnsupported);
}

const object* object_at(const object& parent, std::string_view key) {
  const value* found = parent.if_contains(key);
  return found == nullptr ? nullptr : found->if_object();
}

const array* array_at(const object& parent, std::string_view key) {
  const value* found = parent.if_contains(key);
  return found == nullptr ? nullptr : found->if_array();
}

std::string text_at(const object& parent, std::string_view key) {
  const value* found = parent.if_contains(key);
  const auto* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

bool flag_at(const object& parent, std::string_view key) {
  const value* found = parent.if_contains(key);
  return found != nullptr && found->is_bool() && found->get_bool();
}

// A component, or the components of a Sequence, which lists them under `list`.
std::vector<const object*> steps_of(const object& document,
                                    std::string_view key,
                                    std::string_view list) {
  const object* component = object_at(document, key);
  if (component == nullptr) {
    return {};
  }
  const array* inner =
      text_at(*component, "type") == "Sequence" ? array_at(*component, list) : nullptr;
  if (inner == nullptr) {
    return {component};
  }
  std::vector<const object*> steps;
  for (const value& each : *inner) {
    if (const object* step = each.if_object()) {
      steps.push_back(step);
    }
  }
  return steps;
}

// Names of llama.cpp for the splitting pattern in front of a byte-level step.
struct Pattern {
  std::string_view name;
  std::string_view regex;
};

constexpr std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::array kPatterns{
    Pattern{"qwen2",
            R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
            R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    Pattern{"tekken",
            R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
            R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
            R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    Pattern{"gpt-4o",
            R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
            R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
            R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
            R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
            R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

Result<std::string> byte_level_name(const object& document) {
  const auto steps = steps_of(document, "pre_tokenizer", "pretokenizers");
  const object* split = nullptr;
  bool digits = false;
  bool own_pattern = true;
  for (const object* step : steps) {
    const std::string type = text_at(*step, "type");
    if (type == "Split" && split == nullptr) {
      split = step;
    } else if (type == "Digits" && flag_at(*step, "individual_digits")) {
      digits = true;
    } else if (type == "ByteLevel") {
      const value* regex = step->if_contains("use_regex");
      own_pattern = regex == nullptr || !regex->is_bool() || regex->get_bool();
    } else {
      return unsupported(fmt::format("a pre-tokenizer of {} has no name in GGUF", type));
    }
  }
  if (split == nullptr && own_pattern) {
    return digits ? "smollm" : "gpt-2";
  }
  const object* pattern = split == nullptr ? nullptr : object_at(*split, "pattern");
  const std::string regex = pattern == nullptr ? std::string() : text_at(*pattern, "Regex");
  const object* model = object_at(document, "model");
  if (regex == kCl100kPattern && !digits) {
    // The same pattern; they differ in whether whole words of the vocabulary skip the merges.
    return model != nullptr && flag_at(*model, "ignore_merges") ? "llama-bpe" : "dbrx";
  }
  const auto* known = std::ranges::find(kPatterns, std::string_view(regex), &Pattern::regex);
  if (known == kPatterns.end() || digits) {
    return unsupported(
        fmt::format("its splitting pattern '{}' has no name in GGUF", regex.substr(0, 200)));
  }
  return std::string(known->name);
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> kinds;
  std::map<std::string, std::int32_t, std::less<>> ids;

  std::optional<std::int32_t> id_of(std::string_view token) const {
    const auto at = ids.find(token);
    return token.empty() || at == ids.end() ? std::nullopt : std::optional(at->second);
  }
};

bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>');
}

Result<void> put_token(Vocabulary& out, std::string token, const value& id, std::int32_t kind) {
  const auto rows = static_cast<std::int64_t>(out.tokens.size());
  if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() >= rows) {
    return bad(fmt::format("token '{}' has an id outside the {} rows of the embedding table",
                           token.substr(0, 100),
                           rows));
  }
  const auto at = static_cast<std::size_t>(id.get_int64());
  out.ids.insert_or_assign(token, static_cast<std::int32_t>(at));
  out.tokens[at] = std::move(token);
  out.kinds[at] = kind;
  return {};
}

Result<Vocabulary> read_vocabulary(const object& document, std::int64_t rows, bool bytes) {
  Vocabulary out;
  out.tokens.resize(static_cast<std::size_t>(rows));
  out.kinds.resize(static_cast<std::size_t>(rows), kUnused);
  const object* model = object_at(document, "model");
  const object* vocabulary = model == nullptr ? nullptr : object_at(*model, "vocab");
  if (vocabulary == nullptr) {
    return bad("it has no model.vocab");
  }
  for (const auto& member : *vocabulary) {
    const bool byte = bytes && is_byte_token(member.key());
    GENESIS_TRY_VOID(put_token(out, member.key(), member.value(), byte ? kByte : kNormal));
  }
  if (const array* added = array_at(document, "added_tokens")) {
    for (const value& each : *added) {
      const object* token = each.if_object();
      const value* id = token == nullptr ? nullptr : token->if_contains("id");
      if (id == nullptr) {
        return bad("an added token has no id");
      }
      GENESIS_TRY_VOID(put_token(out,
                                 text_at(*token, "content"),
                                 *id,
                                 flag_at(*token, "special") ? kControl : kUserDefined));
    }
  }
  if (const auto unknown = out.id_of(text_at(*model, "unk_token")); unknown && bytes) {
    out.kinds[static_cast<std::size_t>(*unknown)] = kUnknown;
  }
  // Rows that no token uses; names as llama.cpp's converter gives them.
  for (std::size_t i = 0; i < out.tokens.size(); ++i) {
    if (out.kinds[i] == kUnused) {
      out.tokens[i] = fmt::format("[PAD{}]", i);
    }
  }
  return out;
}

// "left right", whichever of the two forms the file uses.
Result<std::vector<std::string>> read_merges(const object& document) {
  const object* model = object_at(document, "model");
  const array* merges = model == nullptr ? nullptr : array_at(*model, "merges");
  std::vector<std::string> out;
  if (merges == nullptr) {
    return bad("it has no model.merges");
  }
  for (const value& merge : *merges) {
    const array* pair = merge.if_array();
    if (merge.is_string()) {
      out.emplace_back(merge.get_string());
    } else if (pair != nullptr && pair->size() == 2 && (*pair)[0].is_string() &&
               (*pair)[1].is_string()) {
      out.push_back(fmt::format("{} {}",
                                std::string_view((*pair)[0].get_string()),
                                std::string_view((*pair)[1].get_string())));
    } else {
      return bad(fmt::format("merge {} is not two tokens", out.size()));
    }
  }
  return out;
}

// Sentencepiece joins the neighbours whose union has the highest score. The merges of
// tokenizer.json are in that order, so the rank of the first merge that makes a token is a score of
// equal effect.
std::vector<float> scores_of(const Vocabulary& vocabulary, const std::vector<std::string>& merges) {
  const auto lowest = -static_cast<float>(merges.size() + 1);
  std::vector<float> scores(vocabulary.tokens.size(), lowest);
  for (std::size_t rank = merges.size(); rank-- > 0;) {
    std::string joined = merges[rank];
    joined.erase(joined.find(' ', 1), 1);
    if (const auto id = vocabulary.id_of(joined)) {
      scores[static_cast<std::size_t>(*id)] = -static_cast<float>(rank);
    }
  }
  return scores;
}

// Whether a space is put before the text: Prepend, or a Metaspace that is not "never".
bool adds_space(const object& document) {
  for (const object* step : steps_of(document, "normalizer", "normalizers")) {
    if (text_at(*step, "type") == "Prepend") {
      return true;
    }
  }
  for (const object* step : steps_of(document, "pre_tokenizer", "pretokenizers")) {
    if (text_at(*step, "type") == "Metaspace") {
      const std::string scheme = text_at(*step, "prepend_scheme");
      return scheme.empty() ? flag_at(*step, "add_prefix_space") : scheme != "never";
    }
  }
  return false;
}

// Which special tokens the post-processor puts before and after one text.
struct Frame {
  std::string before;
  std::string after;
};

Frame frame_of(const object& document) {
  for (const object* step : steps_of(document, "post_processor", "processors")) {
    const array* single =
        text_at(*step, "type") == "TemplateProcessing" ? array_at(*step, "single") : nullptr;
    if (single == nullptr) {
      continue;
    }
    Frame frame;
    bool behind = false;
    for (const value& piece : *single) {
      const object* entry = piece.if_object();
      const object* special = entry == nullptr ? nullptr : object_at(*entry, "SpecialToken");
      if (special == nullptr) {
        behind = true;
      } else {
        (behind ? frame.after : frame.before) = text_at(*special, "id");
      }
    }
    return frame;
  }
  return {};
}

std::vector<std::int64_t> end_ids(const object& generation, const object& config) {
  for (const object* source : {&generation, &config}) {
    const value* found = source->if_contains("eos_token_id");
    std::vector<std::int64_t> ids;
    if (found != nullptr && found->is_int64()) {
      ids.push_back(found->get_int64());
    } else if (found != nullptr && found->is_array()) {
      for (const value& id : found->get_array()) {
        if (id.is_int64()) {
          ids.push_back(id.get_int64());
        }
      }
    }
    if (!ids.empty()) {
      return ids;
    }
  }
  return {};
}

Result<void> put_special_ids(const std::filesystem::path& folder,
                             const object& document,
                             const Vocabulary& vocabulary,
                             weights::GgufMetadata& metadata) {
  GENESIS_TRY(const value tokenizer, read_object(folder / "tokenizer_config.json"));
  GENESIS_TRY(const value generation, read_object(folder / "generation_config.json"));
  GENESIS_TRY(const value config, read_object(folder / "config.json"));
  const auto put = [&](std::string_view key, std::optional<std::int64_t> id) {
    if (id && *id >= 0 && std::cmp_less(*id, vocabulary.tokens.size())) {
      metadata.put_u32(fmt::format("tokenizer.ggml.{}", key), static_cast<std::uint32_t>(*id));
      return true;
    }
    return false;
  };
  const auto named = [&](std::string_view key) -> std::optional<std::int64_t> {
    return vocabulary.id_of(token_text(tokenizer.get_object(), key));
  };
  const Frame frame = frame_of(document);
  auto bos = named("bos_token");
  if (!bos) {
    GENESIS_TRY(bos, get_integer(config.get_object(), "bos_token_id"));
  }
  const auto ends = end_ids(generation.get_object(), config.get_object());
  auto eos = named("eos_token");
  if (!eos && !ends.empty()) {
    eos = ends.front();
  }
  const bool has_bos = put("bos_token_id", bos);
  const bool has_eos = put("eos_token_id", eos);
  const auto other = std::ranges::find_if(ends, [&](std::int64_t id) { return id != eos; });
  if (other != ends.end()) {
    put("eot_token_id", *other);
  }
  put("unknown_token_id", named("unk_token"));
  put("padding_token_id", named("pad_token"));
  const auto first = vocabulary.id_of(frame.before);
  const auto last = vocabulary.id_of(frame.after);
  metadata.put_bool("tokenizer.ggml.add_bos_token", has_bos && first && first == bos);
  metadata.put_bool("tokenizer.ggml.add_eos_token", has_eos && last && last == eos);
  return {};
}

}  // namespace

Result<void> export_text(const std::filesystem::path& folder,
                         std::int64_t rows,
                         weights::GgufMetadata& metadata) {
  GENESIS_TRY(const std::string text, read_file(folder / "tokenizer.json", kMaxTokenizer));
  GENESIS_TRY(const value parsed, parse_json(text));
  const object* document = parsed.if_object();
  const object* model = document == nullptr ? nullptr : object_at(*document, "model");
  if (model == nullptr || text_at(*model, "type") != "BPE") {
    return unsupported("only BPE tokenizers can be written to GGUF");
  }
  const bool pieces = flag_at(*model, "byte_fallback");
  GENESIS_TRY(const Vocabulary vocabulary, read_vocabulary(*document, rows, pieces));
  GENESIS_TRY(const auto merges, read_merges(*document));
  metadata.put_string("tokenizer.ggml.model", pieces ? "llama" : "gpt2");
  if (pieces) {
    metadata.put_string("tokenizer.ggml.pre", "default");
    metadata.put_f32s("tokenizer.ggml.scores", scores_of(vocabulary, merges));
    metadata.put_bool("tokenizer.ggml.add_space_prefix", adds_space(*document));
  } else {
    GENESIS_TRY(const std::string name, byte_level_name(*document));
    metadata.put_string("tokenizer.ggml.pre", name);
    metadata.put_strings("tokenizer.ggml.merges", merges);
  }
  metadata.put_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  metadata.put_i32s("tokenizer.ggml.token_type", vocabulary.kinds);
  GENESIS_TRY_VOID(put_special_ids(folder, *document, vocabulary, metadata));
  GENESIS_TRY(const std::string chat_template, chat_template_source(folder));
  if (!chat_template.empty()) {
    metadata.put_string("tokenizer.chat_template", chat_template);
  }
  return {};
}

}  // namespace genesis::model
