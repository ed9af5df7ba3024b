#include "text/pre_tokenizer.h"

#include "base/json.h"
#include "text/gpt_split.h"
#include "text/regex.h"
#include "text/split_behavior.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <array>
#include <utility>
#include <variant>

namespace genesis::text {

namespace {

using Owned = std::unique_ptr<const PreTokenizer>;
using Table = std::shared_ptr<const CharTable>;

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 64;
// A pattern that ran into its limit this often in one text is not tried any more.
constexpr std::size_t kMaxFailures = 4;

// A pattern as fast as we can run it.
class Finder {
 public:
  static Result<Finder> for_regex(std::string_view pattern, const Table& table) {
    if (auto fast = GptSplit::for_pattern(pattern, table)) {
      return Finder(std::move(*fast));
    }
    GENESIS_TRY(Regex regex, Regex::compile(pattern));
    return Finder(std::move(regex));
  }

  static Finder for_text(std::string text) { return Finder(std::move(text)); }

  // False when a hostile pattern ran into its limit.
  bool find_all(std::string_view text, std::vector<Match>& out) const {
    if (const auto* regex = std::get_if<Regex>(&how_)) {
      return regex->find_all(text, out);
    }
    if (const auto* fast = std::get_if<GptSplit>(&how_)) {
      fast->find_all(text, out);
    } else {
      const std::string& needle = std::get<std::string>(how_);
      for (std::size_t at = text.find(needle); at != std::string_view::npos;
           at = text.find(needle, at + needle.size())) {
        out.push_back({at, at + needle.size()});
      }
    }
    return true;
  }

 private:
  using How = std::variant<GptSplit, Regex, std::string>;

  explicit Finder(How how) : how_(std::move(how)) {}

  How how_;
};

class Split final : public PreTokenizer {
 public:
  Split(Finder finder, SplitBehavior behavior, bool invert)
      : finder_(std::move(finder)), behavior_(behavior), invert_(invert) {}

  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    out.reserve(pieces.list.size() * 4);
    std::vector<Match> matches;
    std::size_t failures = 0;
    for (const std::string_view piece : pieces.list) {
      matches.clear();
      if (failures < kMaxFailures && !finder_.find_all(piece, matches)) {
        ++failures;
      }
      cut(piece, matches, behavior_, invert_, out);
    }
    pieces.list = std::move(out);
  }

 private:
  Finder finder_;
  SplitBehavior behavior_;
  bool invert_;
};

class Digits final : public PreTokenizer {
 public:
  Digits(bool individual, Table table) : individual_(individual), table_(std::move(table)) {}

  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    out.reserve(pieces.list.size() * 2);
    for (const std::string_view piece : pieces.list) {
      split_one(piece, out);
    }
    pieces.list = std::move(out);
  }

 private:
  void split_one(std::string_view piece, std::vector<std::string_view>& out) const {
    std::size_t begin = 0;
    bool in_digits = false;
    for (std::size_t at = 0; at < piece.size();) {
      const CodePoint point = decode_valid(piece, at);
      const bool digit = (table_->flags(point.value) & kNumeric) != 0;
      if (at > begin && (digit != in_digits || (digit && individual_))) {
        out.push_back(piece.substr(begin, at - begin));
        begin = at;
      }
      in_digits = digit;
      at += point.bytes;
    }
    out.push_back(piece.substr(begin));
  }

  bool individual_;
  Table table_;
};

// The mapping to printable characters itself is left out: the model works on bytes.
class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::optional<GptSplit> words)
      : add_prefix_space_(add_prefix_space), words_(std::move(words)) {}

  void split(Pieces& pieces) const override {
    if (add_prefix_space_) {
      for (std::string_view& piece : pieces.list) {
        if (!piece.starts_with(' ')) {
          piece = pieces.made.emplace_back(" " + std::string(piece));
        }
      }
    }
    if (!words_) {
      return;
    }
    std::vector<std::string_view> out;
    std::vector<Match> matches;
    for (const std::string_view piece : pieces.list) {
      matches.clear();
      words_->find_all(piece, matches);
      for (const Match& match : matches) {
        out.push_back(piece.substr(match.begin, match.end - match.begin));
      }
    }
    pieces.list = std::move(out);
  }

 private:
  bool add_prefix_space_;
  std::optional<GptSplit> words_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<Owned> steps) : steps_(std::move(steps)) {}

  void split(Pieces& pieces) const override {
    for (const Owned& step : steps_) {
      step->split(pieces);
    }
  }

 private:
  std::vector<Owned> steps_;
};

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

Result<Owned> parse_split(const boost::json::object& json, const Table& table) {
  constexpr std::string_view kPrefix = "pre_tokenizer.";
  GENESIS_TRY(const auto behavior_name, get_string(json, "behavior", kPrefix));
  GENESIS_TRY(const auto invert, get_bool(json, "invert", kPrefix));
  GENESIS_TRY(const SplitBehavior behavior, behavior_named(behavior_name.value_or("")));
  const boost::json::value* pattern = json.if_contains("pattern");
  if (pattern == nullptr || !pattern->is_object()) {
    return unsupported("Split without a 'pattern' object is not supported");
  }
  GENESIS_TRY(const auto regex, get_string(pattern->get_object(), "Regex", kPrefix));
  GENESIS_TRY(const auto text, get_string(pattern->get_object(), "String", kPrefix));
  if (regex) {
    GENESIS_TRY(Finder finder, Finder::for_regex(*regex, table));
    return std::make_unique<Split>(std::move(finder), behavior, invert.value_or(false));
  }
  if (!text || text->empty()) {
    return unsupported("Split needs a 'Regex' or a non-empty 'String' pattern");
  }
  return std::make_unique<Split>(Finder::for_text(*text), behavior, invert.value_or(false));
}

Result<Owned> parse_byte_level(const boost::json::object& json, const Table& table) {
  constexpr std::string_view kPrefix = "pre_tokenizer.";
  GENESIS_TRY(const auto prefix_space, get_bool(json, "add_prefix_space", kPrefix));
  GENESIS_TRY(const auto use_regex, get_bool(json, "use_regex", kPrefix));
  return std::make_unique<ByteLevel>(
      prefix_space.value_or(true),
      use_regex.value_or(true) ? GptSplit::for_pattern(kGpt2Pattern, table) : std::nullopt);
}

// Flattens nested Sequences, and sees to it that ByteLevel comes last and only once.
class ChainParser {
 public:
  explicit ChainParser(const Table& table) : table_(table) {}

  Result<void> add(const boost::json::value& json, std::size_t depth) {
    if (!json.is_object()) {
      return unsupported("a pre-tokenizer must be an object");
    }
    const boost::json::object& object = json.get_object();
    GENESIS_TRY(const auto type, get_string(object, "type", "pre_tokenizer."));
    if (type == "Sequence") {
      return add_sequence(object, depth);
    }
    if (ends_in_byte_level_) {
      return unsupported(
          fmt::format("'{}' after ByteLevel is not supported", type.value_or("null")));
    }
    if (steps_.size() == kMaxSteps) {
      return unsupported(fmt::format("more than {} steps are not supported", kMaxSteps));
    }
    GENESIS_TRY(auto step, parse_step(type.value_or("null"), object));
    steps_.push_back(std::move(step));
    return {};
  }

  Result<Owned> finish() {
    if (!ends_in_byte_level_) {
      return unsupported("a pre-tokenizer that does not end in ByteLevel is not supported");
    }
    return std::make_unique<Sequence>(std::move(steps_));
  }

 private:
  Result<void> add_sequence(const boost::json::object& object, std::size_t depth) {
    const boost::json::value* inner = object.if_contains("pretokenizers");
    if (inner == nullptr || !inner->is_array() || depth == kMaxDepth) {
      return unsupported("Sequence needs a 'pretokenizers' array, nested less deeply");
    }
    for (const boost::json::value& step : inner->get_array()) {
      GENESIS_TRY_VOID(add(step, depth + 1));
    }
    return {};
  }

  Result<Owned> parse_step(std::string_view type, const boost::json::object& object) {
    if (type == "Split") {
      return parse_split(object, table_);
    }
    if (type == "Digits") {
      GENESIS_TRY(const auto individual, get_bool(object, "individual_digits", "pre_tokenizer."));
      return std::make_unique<Digits>(individual.value_or(false), table_);
    }
    if (type == "ByteLevel") {
      ends_in_byte_level_ = true;
      return parse_byte_level(object, table_);
    }
    return unsupported(fmt::format("pre-tokenizer '{}' is not supported", type));
  }

  const Table& table_;
  std::vector<Owned> steps_;
  bool ends_in_byte_level_ = false;
};

// The chains behind the names, as tokenizer.json writes them. Sources: llama.cpp, llm_tokenizer_bpe
// in src/llama-vocab.cpp, and the tokenizer.json of SmolLM2, GPT-2, Llama 3 and Qwen2.
Result<std::unique_ptr<const PreTokenizer>> chain_of(std::span<const std::string_view> patterns,
                                                     const Table& table) {
  std::vector<Owned> steps;
  for (const std::string_view pattern : patterns) {
    GENESIS_TRY(Finder finder, Finder::for_regex(pattern, table));
    steps.push_back(std::make_unique<Split>(std::move(finder), SplitBehavior::kIsolated, false));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace

Result<Owned> parse_pre_tokenizer(const boost::json::value& json, Table table) {
  ChainParser chain(table);
  GENESIS_TRY_VOID(chain.add(json, 0));
  return chain.finish();
}

Result<Owned> gguf_pre_tokenizer(std::string_view name, Table table) {
  if (name == "smollm") {
    std::vector<Owned> steps;
    steps.push_back(std::make_unique<Digits>(true, table));
    steps.push_back(std::make_unique<ByteLevel>(false, GptSplit::for_pattern(kGpt2Pattern, table)));
    return std::make_unique<Sequence>(std::move(steps));
  }
  if (name == "gpt-2") {
    return std::make_unique<ByteLevel>(false, GptSplit::for_pattern(kGpt2Pattern, table));
  }
  if (name == "llama-bpe") {
    return chain_of(std::array{kLlama3Pattern}, table);
  }
  if (name == "qwen2") {
    return chain_of(std::array{kQwen2Pattern}, table);
  }
  if (name == "default") {
    return chain_of(
        std::array<std::string_view, 4>{
            R"([\p{P}\$\+<=>\^~\|]+)",
            R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))",
            R"(\p{N}+)",
            "[0-9][0-9][0-9]"},
        table);
  }
  return fail_param("tokenizer.ggml.pre",
                    fmt::format("pre-tokenizer '{}' is not supported", name),
                    ErrorCode::kUnsupported);
}

}  // namespace genesis::text
