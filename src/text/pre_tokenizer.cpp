#include "text/pre_tokenizer.h"

#include "base/json.h"
#include "text/pre_tokenizer_steps.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text {

namespace {

using Owned = std::unique_ptr<const PreTokenizer>;
using Table = std::shared_ptr<const CharTable>;

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 64;
constexpr std::string_view kPrefix = "pre_tokenizer.";

std::unexpected<Error> unsupported(std::string what) {
  return fail_param("pre_tokenizer", std::move(what), ErrorCode::kUnsupported);
}

Result<SplitBehavior> behavior_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames = {{
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  }};
  for (const auto& [known, behavior] : kNames) {
    if (known == name) {
      return behavior;
    }
  }
  return unsupported(fmt::format("Split behavior '{}' is not supported", name));
}

// A member that holds exactly one character.
Result<std::string> one_character(const boost::json::object& json, std::string_view key) {
  GENESIS_TRY(auto text, get_string(json, key, kPrefix));
  if (!text || text->empty() || decode_valid(*text, 0).bytes != text->size()) {
    return unsupported(fmt::format("'{}' must be one character", key));
  }
  return std::move(*text);
}

Result<Owned> parse_split(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(const auto behavior_name, get_string(json, "behavior", kPrefix));
  GENESIS_TRY(const auto invert, get_bool(json, "invert", kPrefix));
  GENESIS_TRY(const SplitBehavior behavior, behavior_named(behavior_name.value_or("")));
  GENESIS_TRY(Finder finder, Finder::parse(json, table, "pre_tokenizer"));
  return std::make_unique<Split>(std::move(finder), behavior, invert.value_or(false));
}

// Files of before version 0.14 say add_prefix_space instead of prepend_scheme.
Result<Owned> parse_metaspace(const boost::json::object& json) {
  GENESIS_TRY(std::string replacement, one_character(json, "replacement"));
  GENESIS_TRY(const auto scheme, get_string(json, "prepend_scheme", kPrefix));
  GENESIS_TRY(const auto prefix_space, get_bool(json, "add_prefix_space", kPrefix));
  GENESIS_TRY(const auto splits, get_bool(json, "split", kPrefix));
  using Prepend = Metaspace::Prepend;
  Prepend prepend = Prepend::kAlways;
  if (scheme == "first") {
    prepend = Prepend::kFirst;
  } else if (scheme == "never") {
    prepend = Prepend::kNever;
  } else if (scheme && scheme != "always") {
    return unsupported(fmt::format("prepend_scheme '{}' is not supported", *scheme));
  }
  if (!prefix_space.value_or(true)) {
    if (scheme && prepend != Prepend::kNever) {
      return unsupported("add_prefix_space contradicts prepend_scheme");
    }
    prepend = Prepend::kNever;
  }
  return std::make_unique<Metaspace>(std::move(replacement), prepend, splits.value_or(true));
}

Result<Owned> parse_fixed_length(const boost::json::object& json) {
  GENESIS_TRY(const auto length, get_integer(json, "length", kPrefix));
  if (length.value_or(5) <= 0) {
    return unsupported("FixedLength needs a 'length' above 0");
  }
  return std::make_unique<FixedLength>(static_cast<std::size_t>(length.value_or(5)));
}

Result<Owned> parse_digits(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(const auto individual, get_bool(json, "individual_digits", kPrefix));
  return std::make_unique<ClassSplit>(
      ClassSplit::Class::kNumeric,
      individual.value_or(false) ? SplitBehavior::kIsolated : SplitBehavior::kContiguous,
      table);
}

Result<Owned> parse_punctuation(const boost::json::object& json, const Table& table) {
  GENESIS_TRY(const auto name, get_string(json, "behavior", kPrefix));
  GENESIS_TRY(const SplitBehavior behavior, behavior_named(name.value_or("Isolated")));
  return std::make_unique<ClassSplit>(ClassSplit::Class::kPunctuation, behavior, table);
}

Owned white_space_split(const Table& table) {
  return std::make_unique<ClassSplit>(ClassSplit::Class::kSpace, SplitBehavior::kRemoved, table);
}

// Every type but Sequence and ByteLevel, which need to know their place in the chain.
Result<Owned> parse_step(std::string_view type,
                         const boost::json::object& json,
                         const Table& table) {
  if (type == "Split") {
    return parse_split(json, table);
  }
  if (type == "Digits") {
    return parse_digits(json, table);
  }
  if (type == "Metaspace") {
    return parse_metaspace(json);
  }
  if (type == "Punctuation") {
    return parse_punctuation(json, table);
  }
  if (type == "BertPreTokenizer") {
    return make_bert_pre_tokenizer(table);
  }
  if (type == "Whitespace") {
    return std::make_unique<WordSplit>(table);
  }
  if (type == "WhitespaceSplit") {
    return white_space_split(table);
  }
  if (type == "UnicodeScripts") {
    return std::make_unique<ScriptSplit>();
  }
  if (type == "FixedLength") {
    return parse_fixed_length(json);
  }
  if (type == "CharDelimiterSplit") {
    GENESIS_TRY(std::string delimiter, one_character(json, "delimiter"));
    return std::make_unique<Split>(
        Finder::for_text(std::move(delimiter)), SplitBehavior::kRemoved, false);
  }
  return unsupported(fmt::format("pre-tokenizer '{}' is not supported", type));
}

// The steps of nested Sequences in one list.
Result<void> flatten(const boost::json::value& json,
                     std::size_t depth,
                     std::vector<const boost::json::object*>& out) {
  if (!json.is_object()) {
    return unsupported("a pre-tokenizer must be an object");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(const auto type, get_string(object, "type", kPrefix));
  if (type != "Sequence") {
    if (out.size() == kMaxSteps) {
      return unsupported(fmt::format("more than {} steps are not supported", kMaxSteps));
    }
    out.push_back(&object);
    return {};
  }
  const boost::json::value* inner = object.if_contains("pretokenizers");
  if (inner == nullptr || !inner->is_array() || depth == kMaxDepth) {
    return unsupported("Sequence needs a 'pretokenizers' array, nested less deeply");
  }
  for (const boost::json::value& step : inner->get_array()) {
    GENESIS_TRY_VOID(flatten(step, depth + 1, out));
  }
  return {};
}

Result<Owned> parse_byte_level(const boost::json::object& json, const Table& table, bool to_text) {
  GENESIS_TRY(const auto prefix_space, get_bool(json, "add_prefix_space", kPrefix));
  GENESIS_TRY(const auto use_regex, get_bool(json, "use_regex", kPrefix));
  return std::make_unique<ByteLevel>(
      ByteLevel::Options{prefix_space.value_or(true), to_text},
      use_regex.value_or(true) ? GptSplit::for_pattern(kGpt2Pattern, table) : std::nullopt);
}

bool is_type(const boost::json::object& json, std::string_view type) {
  const boost::json::value* found = json.if_contains("type");
  return found != nullptr && found->is_string() && found->get_string() == type;
}

bool prepends_at_start(const boost::json::object& json) {
  const boost::json::value* scheme = json.if_contains("prepend_scheme");
  return is_type(json, "Metaspace") && scheme != nullptr && scheme->is_string() &&
         scheme->get_string() == "first";
}

}  // namespace

Result<PreTokenizerPlan> parse_pre_tokenizer(const boost::json::value& json,
                                             Table table,
                                             PreTokenizerOptions options) {
  PreTokenizerPlan plan;
  if (json.is_null()) {
    return plan;
  }
  std::vector<const boost::json::object*> parts;
  GENESIS_TRY_VOID(flatten(json, 0, parts));
  const auto is_byte_level = [](const auto* part) { return is_type(*part, "ByteLevel"); };
  plan.byte_level = options.bytes_wanted && std::ranges::count_if(parts, is_byte_level) == 1 &&
                    is_byte_level(parts.back());
  bool changed = options.after_normalizer;
  std::vector<Owned> steps;
  for (const boost::json::object* part : parts) {
    plan.needs_origin = plan.needs_origin || (changed && prepends_at_start(*part));
    changed = changed || is_byte_level(part) || is_type(*part, "Metaspace");
    Result<Owned> step = std::unique_ptr<const PreTokenizer>();
    if (is_byte_level(part)) {
      step = parse_byte_level(*part, table, !plan.byte_level);
    } else {
      GENESIS_TRY(const auto type, get_string(*part, "type", kPrefix));
      step = parse_step(type.value_or("null"), *part, table);
    }
    if (!step) {
      return std::unexpected(step.error());
    }
    steps.push_back(std::move(*step));
  }
  if (!steps.empty()) {
    plan.chain = std::make_unique<PreTokenizerSequence>(std::move(steps));
  }
  return plan;
}

Owned make_bert_pre_tokenizer(Table table) {
  std::vector<Owned> steps;
  steps.push_back(white_space_split(table));
  steps.push_back(std::make_unique<ClassSplit>(
      ClassSplit::Class::kPunctuation, SplitBehavior::kIsolated, table));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

}  // namespace genesis::text
