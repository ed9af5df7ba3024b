// Driver of the grammar tests: one JSON request a line on stdin, one JSON reply a line on stdout.
//   grammar_probe TOKENIZER.json
// {"kind": "schema" | "regex" | "gbnf" | "object", "source", "strict", "whitespace"} compiles and
// keeps the language for what follows:
//   {"check": [TEXT, ..]}          whether each text is in the language
//   {"walk": COUNT, "seed", "limit", "spread"}  random texts along the masks, each of at most
//   `limit` tokens
//   {"brute": STEPS, "seed"}       masks along a random text against accept() of every token
#include "base/file.h"
#include "base/json.h"
#include "text/grammar/matcher.h"

#include <boost/json.hpp>

#include <chrono>
#include <iostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxFile = 512 * 1024 * 1024;

class Probe {
 public:
  explicit Probe(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)), trie_(TokenTrie::build(*tokenizer_)) {}

  void answer(const boost::json::object& request, JsonWriter& out) {
    if (request.contains("kind")) {
      compile(request, out);
    } else if (!matcher_) {
      out.field("error", "no language yet");
    } else if (request.contains("check")) {
      check(request.at("check").as_array(), out);
    } else if (request.contains("walk")) {
      walk(request, out);
    } else {
      brute(request, out);
    }
  }

 private:
  static std::int64_t number(const boost::json::object& request,
                             std::string_view key,
                             std::int64_t otherwise) {
    return get_integer(request, key).value().value_or(otherwise);
  }

  Result<GrammarMatcher> matcher_of(const boost::json::object& request) {
    const std::string kind = get_string(request, "kind").value().value_or("");
    const std::string source = get_string(request, "source").value().value_or("");
    JsonSchemaOptions options;
    options.closed_objects = get_bool(request, "strict").value().value_or(false);
    options.most_whitespace = static_cast<std::size_t>(number(request, "whitespace", 20));
    GrammarLimits limits;
    limits.cache_bytes = static_cast<std::size_t>(number(request, "cache_bytes", 64 << 20));
    GrammarBuilder builder(limits);
    GENESIS_TRY(const auto root,
                kind == "schema"  ? builder.json_schema(source, options)
                : kind == "regex" ? builder.regex(source)
                : kind == "gbnf"  ? builder.gbnf(source)
                                  : builder.json_object(options));
    GENESIS_TRY(auto grammar, builder.build(root));
    return GrammarMatcher::create(std::move(grammar), trie_);
  }

  void compile(const boost::json::object& request, JsonWriter& out) {
    const auto begin = std::chrono::steady_clock::now();
    auto made = matcher_of(request);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    matcher_.reset();
    if (made) {
      matcher_ = std::move(*made);
      out.field_bool("ok", true);
    } else {
      out.field("error", made.error().message);
      out.field("param", made.error().param);
      out.field("code", error_code_name(made.error().code));
    }
    out.field_number("ms", took.count());
  }

  bool holds(std::string_view text) const {
    GrammarMatcher at = *matcher_;
    for (const std::int32_t token :
         tokenizer_->encode(text, {.add_special_tokens = false, .parse_special = false})) {
      if (!at.accept(token)) {
        return false;
      }
    }
    return at.can_end();
  }

  void check(const boost::json::array& texts, JsonWriter& out) {
    out.key("in");
    out.begin_array();
    for (const auto& text : texts) {
      out.boolean(holds(std::string_view(text.as_string())));
    }
    out.end_array();
  }

  std::vector<std::int32_t> allowed(const GrammarMatcher& at, std::int64_t left) const {
    const auto size = static_cast<std::size_t>(tokenizer_->vocab_size());
    std::vector<std::uint64_t> bits(mask_words(size));
    std::vector<std::int32_t> tokens;
    if (!at.mask(bits, left)) {
      return tokens;
    }
    for (std::size_t id = 0; id < size; ++id) {
      if ((bits[id / 64] >> (id % 64) & 1) != 0) {
        tokens.push_back(static_cast<std::int32_t>(id));
      }
    }
    return tokens;
  }

  // One text: random tokens, of `spread` candidates the one that has a quote or bracket, so that
  // texts have structure and not only long strings.
  std::pair<std::string, bool> random_text(std::mt19937_64& random,
                                           std::int64_t limit,
                                           std::int64_t spread) const {
    GrammarMatcher at = *matcher_;
    std::string text;
    for (std::int64_t used = 0;; ++used) {
      if (at.must_end() || (at.can_end() && random() % 4 == 0)) {
        return {text, true};
      }
      const std::vector<std::int32_t> tokens = allowed(at, limit - used);
      if (tokens.empty() || used == limit) {
        return {text, at.can_end()};
      }
      std::int32_t token = tokens[random() % tokens.size()];
      for (std::int64_t i = 0; i < spread; ++i) {
        if (tokenizer_->token_bytes(token).find_first_of("\"{}[]") != std::string::npos) {
          break;
        }
        token = tokens[random() % tokens.size()];
      }
      if (!at.accept(token)) {
        return {"mask allowed a token that accept refused: " + text, false};
      }
      text += tokenizer_->token_bytes(token);
    }
  }

  void walk(const boost::json::object& request, JsonWriter& out) {
    std::mt19937_64 random(static_cast<std::uint64_t>(number(request, "seed", 1)));
    std::vector<bool> ended;
    out.key("texts");
    out.begin_array();
    for (std::int64_t i = 0; i < number(request, "walk", 1); ++i) {
      auto [text, end] =
          random_text(random, number(request, "limit", 200), number(request, "spread", 4));
      ended.push_back(end);
      out.string(text);
    }
    out.end_array();
    out.key("ended");
    out.begin_array();
    for (const bool end : ended) {
      out.boolean(end);
    }
    out.end_array();
  }

  void brute(const boost::json::object& request, JsonWriter& out) {
    std::mt19937_64 random(static_cast<std::uint64_t>(number(request, "seed", 1)));
    GrammarMatcher at = *matcher_;
    std::int64_t wrong = 0;
    std::int64_t steps = 0;
    for (; steps < number(request, "brute", 1) && !at.must_end(); ++steps) {
      const std::vector<std::int32_t> tokens = allowed(at, GrammarMatcher::kNoLimit);
      std::vector<std::int32_t> accepted;
      for (std::int32_t token = 0; token < tokenizer_->vocab_size(); ++token) {
        GrammarMatcher copy = at;
        if (copy.accept(token)) {
          accepted.push_back(token);
        }
      }
      wrong += accepted == tokens ? 0 : 1;
      if (tokens.empty()) {
        break;
      }
      std::int32_t token = tokens[random() % tokens.size()];
      for (int i = 0; i < 6; ++i) {
        if (tokenizer_->token_bytes(token).find_first_of("\"{}[],") != std::string::npos) {
          break;
        }
        token = tokens[random() % tokens.size()];
      }
      at.accept(token);
    }
    out.field("steps", steps);
    out.field("wrong", wrong);
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const TokenTrie> trie_;
  std::optional<GrammarMatcher> matcher_;
};

int run(const std::string& path) {
  const auto file = read_file(path, kMaxFile);
  if (!file) {
    std::cerr << file.error().message << '\n';
    return 1;
  }
  const auto tokenizer = Tokenizer::from_tokenizer_json(*file);
  if (!tokenizer) {
    std::cerr << tokenizer.error().param << ": " << tokenizer.error().message << '\n';
    return 1;
  }
  std::ios::sync_with_stdio(false);
  Probe probe(*tokenizer);
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto request = parse_json(line);
    JsonWriter out;
    out.begin_object();
    if (request && request->is_object()) {
      probe.answer(request->get_object(), out);
    } else {
      out.field("error", "not a JSON object");
    }
    out.end_object();
    std::cout << out.take() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace

}  // namespace genesis::text

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: grammar_probe TOKENIZER.json\n";
    return 2;
  }
  return genesis::text::run(argv[1]);
}
