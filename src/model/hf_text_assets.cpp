// tokenizer.json, or else tokenizer.model, and its companions -> text assets.
#include "base/file.h"
#include "base/json.h"
#include "model/hf_folder.h"
#include "model/hf_spec.h"

#include <boost/json.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace genesis::model {
namespace {

using boost::json::object;
using boost::json::value;

// Large enough for every published tokenizer (Gemma's has 33 MB).
constexpr std::size_t kMaxTokenizer = 256U << 20;

// A tokenizer.json does not say which tokens end a generation; the configuration does.
class EndingTokenizer final : public text::Tokenizer {
 public:
  EndingTokenizer(std::shared_ptr<const Tokenizer> inner, std::vector<std::int32_t> ends)
      : inner_(std::move(inner)), ends_(std::move(ends)) {}

  std::vector<std::int32_t> encode(std::string_view text,
                                   const text::EncodeOptions& options) const override {
    return inner_->encode(text, options);
  }

  text::Encoding encode_with_offsets(std::string_view text,
                                     const text::EncodeOptions& options) const override {
    return inner_->encode_with_offsets(text, options);
  }

  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override {
    return inner_->decode(ids, skip_special);
  }

  std::unique_ptr<text::DecodeStream> stream(bool skip_special) const override {
    return inner_->stream(skip_special);
  }

  std::string token_bytes(std::int32_t id) const override { return inner_->token_bytes(id); }

  bool is_special(std::int32_t id) const override { return inner_->is_special(id); }

  std::int32_t vocab_size() const override { return inner_->vocab_size(); }

  std::optional<std::int32_t> token_id(std::string_view token) const override {
    return inner_->token_id(token);
  }

  std::optional<std::int32_t> bos_id() const override { return inner_->bos_id(); }

  std::span<const std::int32_t> end_ids() const override { return ends_; }

 private:
  std::shared_ptr<const Tokenizer> inner_;
  std::vector<std::int32_t> ends_;
};

// "eos_token_id" is an id or a list of ids.
void add_ids(const object& config, std::int32_t vocab, std::vector<std::int32_t>& ids) {
  const value* found = config.if_contains("eos_token_id");
  const auto add = [&](const value& id) {
    if (id.is_int64() && id.get_int64() >= 0 && id.get_int64() < vocab) {
      ids.push_back(static_cast<std::int32_t>(id.get_int64()));
    }
  };
  if (found != nullptr && found->is_array()) {
    for (const value& id : found->get_array()) {
      add(id);
    }
  } else if (found != nullptr) {
    add(*found);
  }
}

// The template is a file of its own, a string, or the entry "default" of a list.
Result<std::string> template_source(const std::filesystem::path& folder, const object& config) {
  std::error_code ignored;
  const std::filesystem::path own = folder / "chat_template.jinja";
  if (std::filesystem::exists(own, ignored)) {
    return read_file(own, kMaxConfig);
  }
  const value* found = config.if_contains("chat_template");
  if (found != nullptr && found->is_array()) {
    for (const value& entry : found->get_array()) {
      const object* named = entry.if_object();
      if (named != nullptr && token_text(*named, "name") == "default") {
        return token_text(*named, "template");
      }
    }
  }
  return token_text(config, "chat_template");
}

// tokenizer.json if there is one; a folder of before its time has sentencepiece's tokenizer.model.
Result<std::shared_ptr<const text::Tokenizer>> read_tokenizer(const std::filesystem::path& folder,
                                                              const object& config) {
  std::error_code ignored;
  const std::filesystem::path pieces = folder / "tokenizer.model";
  if (std::filesystem::exists(folder / "tokenizer.json", ignored) ||
      !std::filesystem::exists(pieces, ignored)) {
    GENESIS_TRY(const std::string json, read_file(folder / "tokenizer.json", kMaxTokenizer));
    return text::Tokenizer::from_tokenizer_json(json);
  }
  GENESIS_TRY(const std::string model, read_file(pieces, kMaxTokenizer));
  GENESIS_TRY(const auto add_bos, get_bool(config, "add_bos_token", "tokenizer_config.json: "));
  GENESIS_TRY(const auto add_eos, get_bool(config, "add_eos_token", "tokenizer_config.json: "));
  return text::Tokenizer::from_sentencepiece(
      model, {.add_bos = add_bos.value_or(true), .add_eos = add_eos.value_or(false)});
}

}  // namespace

Result<std::string> chat_template_source(const std::filesystem::path& folder) {
  GENESIS_TRY(const value config, read_object(folder / "tokenizer_config.json"));
  return template_source(folder, config.get_object());
}

Result<engine::TextAssets> text_assets_from_folder(const std::filesystem::path& folder) {
  GENESIS_TRY(const value config, read_object(folder / "config.json"));
  GENESIS_TRY(const value generation, read_object(folder / "generation_config.json"));
  GENESIS_TRY(const value tokenizer_config, read_object(folder / "tokenizer_config.json"));
  GENESIS_TRY(std::shared_ptr<const text::Tokenizer> tokenizer,
              read_tokenizer(folder, tokenizer_config.get_object()));
  engine::TextAssets assets;
  assets.bos_token = token_text(tokenizer_config.get_object(), "bos_token");
  assets.eos_token = token_text(tokenizer_config.get_object(), "eos_token");
  std::vector<std::int32_t> ends;
  add_ids(generation.get_object(), tokenizer->vocab_size(), ends);
  if (ends.empty()) {
    add_ids(config.get_object(), tokenizer->vocab_size(), ends);
  }
  if (const auto eos = tokenizer->token_id(assets.eos_token); ends.empty() && eos) {
    ends.push_back(*eos);
  }
  assets.tokenizer = std::make_shared<EndingTokenizer>(std::move(tokenizer), std::move(ends));
  GENESIS_TRY(const std::string source, chat_template_source(folder));
  if (!source.empty()) {
    GENESIS_TRY(text::ChatTemplate chat_template, text::ChatTemplate::parse(source));
    assets.chat_template = std::make_shared<const text::ChatTemplate>(std::move(chat_template));
  }
  return assets;
}

}  // namespace genesis::model
