#include "text/normalizer.h"

#include "base/json.h"
#include "text/normalizer_steps.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

using Owned = std::unique_ptr<const Normalizer>;
using Table = std::shared_ptr<const CharTable>;

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 32;
constexpr std::string_view kPrefix = "normalizer.";
// A chain that makes more than this of a text (and more than 16 times its size) is an attack: what
// is left of it is not run.
constexpr std::size_t kMostMade = 64 * 1024;

std::unexpected<Error> unsupported(std::string what) {
  return fail_param("normalizer", std::move(what), ErrorCode::kUnsupported);
}

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<Owned> steps) : steps_(std::move(steps)) {}

  void apply(AlignedText& text) const override {
    const std::size_t most = std::max(kMostMade, text.text.size() * 16);
    for (const Owned& step : steps_) {
      if (text.text.empty() || text.text.size() > most) {
        return;
      }
      step->apply(text);
    }
  }

 private:
  std::vector<Owned> steps_;
};

Result<Owned> parse_replace(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(Finder finder, Finder::parse(json, table, "normalizer"));
  GENESIS_TRY(auto content, get_string(json, "content", kPrefix));
  if (!content || content->size() > kMaxReplacement) {
    return unsupported(
        fmt::format("Replace needs a 'content' of at most {} bytes", kMaxReplacement));
  }
  return std::make_unique<Replace>(std::move(finder), std::move(*content));
}

Result<Owned> parse_prepend(const boost::json::object& json) {
  GENESIS_TRY(auto what, get_string(json, "prepend", kPrefix));
  if (!what || what->size() > kMaxReplacement) {
    return unsupported(
        fmt::format("Prepend needs a 'prepend' of at most {} bytes", kMaxReplacement));
  }
  return make_prepend(std::move(*what));
}

Result<Owned> parse_strip(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(const auto left, get_bool(json, "strip_left", kPrefix));
  GENESIS_TRY(const auto right, get_bool(json, "strip_right", kPrefix));
  return std::make_unique<Strip>(Strip::Ends{left.value_or(true), right.value_or(true)}, table);
}

Result<Owned> parse_bert(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(const auto clean, get_bool(json, "clean_text", kPrefix));
  GENESIS_TRY(const auto cjk, get_bool(json, "handle_chinese_chars", kPrefix));
  GENESIS_TRY(const auto accents, get_bool(json, "strip_accents", kPrefix));
  GENESIS_TRY(const auto lowercase, get_bool(json, "lowercase", kPrefix));
  std::vector<Owned> steps;
  if (clean.value_or(true)) {
    steps.push_back(std::make_unique<BertClean>(table));
  }
  if (cjk.value_or(true)) {
    steps.push_back(std::make_unique<SpaceIdeographs>());
  }
  if (accents.value_or(lowercase.value_or(true))) {
    GENESIS_TRY(auto nfd, make_unicode_form(UnicodeForm::kNfd));
    steps.push_back(std::move(nfd));
    steps.push_back(std::make_unique<StripMarks>(StripMarks::Which::kNonspacing));
  }
  if (lowercase.value_or(true)) {
    steps.push_back(std::make_unique<Lowercase>());
  }
  return in_sequence(std::move(steps));
}

Result<Owned> parse_precompiled(const boost::json::object& json) {
  GENESIS_TRY(const auto encoded, get_string(json, "precompiled_charsmap", kPrefix));
  const auto blob = from_base64(encoded.value_or(""));
  if (!blob) {
    return fail_param("normalizer.precompiled_charsmap", "is not base64", ErrorCode::kDataLoss);
  }
  GENESIS_TRY(Charsmap map, Charsmap::parse(*blob));
  return Precompiled::make(std::move(map));
}

Result<Owned> parse_step(std::string_view type,
                         const boost::json::object& json,
                         const Table& table) {
  constexpr std::pair<std::string_view, UnicodeForm> kForms[] = {{"NFC", UnicodeForm::kNfc},
                                                                 {"NFD", UnicodeForm::kNfd},
                                                                 {"NFKC", UnicodeForm::kNfkc},
                                                                 {"NFKD", UnicodeForm::kNfkd}};
  for (const auto& [name, form] : kForms) {
    if (type == name) {
      return make_unicode_form(form);
    }
  }
  if (type == "Replace") {
    return parse_replace(json, table);
  }
  if (type == "Prepend") {
    return parse_prepend(json);
  }
  if (type == "Strip") {
    return parse_strip(json, table);
  }
  if (type == "StripAccents") {
    return std::make_unique<StripMarks>(StripMarks::Which::kCombining);
  }
  if (type == "Lowercase") {
    return std::make_unique<Lowercase>();
  }
  if (type == "Nmt") {
    return std::make_unique<Nmt>();
  }
  if (type == "ByteLevel") {
    return std::make_unique<BytesToText>();
  }
  if (type == "BertNormalizer") {
    return parse_bert(json, table);
  }
  if (type == "Precompiled") {
    return parse_precompiled(json);
  }
  return unsupported(fmt::format("normalizer '{}' is not supported", type));
}

Result<void> add_steps(const boost::json::value& json,
                       const Table& table,
                       std::size_t depth,
                       std::vector<Owned>& steps) {
  if (!json.is_object() || depth > kMaxDepth || steps.size() == kMaxSteps) {
    return unsupported("a normalizer must be an object, and a chain of them short and flat");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(const auto type, get_string(object, "type", kPrefix));
  const boost::json::value* inner = object.if_contains("normalizers");
  if (type == "Sequence" && inner != nullptr && inner->is_array()) {
    for (const boost::json::value& step : inner->get_array()) {
      GENESIS_TRY_VOID(add_steps(step, table, depth + 1, steps));
    }
    return {};
  }
  GENESIS_TRY(auto step, parse_step(type.value_or("null"), object, table));
  steps.push_back(std::move(step));
  return {};
}

}  // namespace

Result<Owned> parse_normalizer(const boost::json::value& json, Table table) {
  if (json.is_null()) {
    return nullptr;
  }
  std::vector<Owned> steps;
  GENESIS_TRY_VOID(add_steps(json, table, 0, steps));
  if (steps.empty()) {
    return nullptr;
  }
  return in_sequence(std::move(steps));
}

Owned in_sequence(std::vector<Owned> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}

Result<Owned> make_bert_normalizer(Table table) {
  return parse_bert({}, table);
}

Owned make_prepend(std::string what) {
  return std::make_unique<Prepend>(std::move(what));
}

Owned make_replace_text(std::string what, std::string with) {
  return std::make_unique<Replace>(Finder::for_text(std::move(what)), std::move(with));
}

}  // namespace genesis::text
