// Times the grammar engine for bench/grammar.py: compile, then mask and accept along given tokens.
//
//   grammar_speed TOKENIZER.json CASES.json PASSES
//
// CASES.json: [{"schema": TEXT, "tokens": [[ID, ..], ..]}, ..]. Each case is compiled afresh and
// replayed PASSES times; prints nanoseconds as one JSON object: "compile" one number a case,
// "first" and "later" one number a mask of the first and the other passes, "replay" the sum over
// mask and accept of the last pass.
#include "base/file.h"
#include "base/json.h"
#include "text/grammar/matcher.h"

#include <boost/json.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

namespace genesis::text {

namespace {

using Clock = std::chrono::steady_clock;
using Tokens = std::vector<std::vector<std::int32_t>>;

std::int64_t since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

struct Times {
  std::vector<std::int64_t> trie;
  std::vector<std::int64_t> compile;
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> later;
  std::vector<std::int64_t> replay;
  std::int64_t refused = 0;
};

class Bench {
 public:
  explicit Bench(const Tokenizer& tokenizer)
      : bits_(mask_words(static_cast<std::size_t>(tokenizer.vocab_size()))) {
    const auto begin = Clock::now();
    trie_ = TokenTrie::build(tokenizer);
    times_.trie.push_back(since(begin));
  }

  Result<void> run(std::string_view schema, const Tokens& tokens, int passes) {
    const auto begin = Clock::now();
    GrammarBuilder builder;
    GENESIS_TRY(const auto root, builder.json_schema(schema));
    GENESIS_TRY(auto grammar, builder.build(root));
    GENESIS_TRY(const GrammarMatcher start, GrammarMatcher::create(std::move(grammar), trie_));
    times_.compile.push_back(since(begin));
    for (int pass = 0; pass < passes; ++pass) {
      std::int64_t replay = 0;
      for (const auto& text : tokens) {
        GENESIS_TRY(const std::int64_t took,
                    replay_text(start, text, pass == 0 ? times_.first : times_.later));
        replay += took;
      }
      if (pass + 1 == passes) {
        times_.replay.push_back(replay);
      }
    }
    return {};
  }

  const Times& times() const { return times_; }

 private:
  Result<std::int64_t> replay_text(const GrammarMatcher& start,
                                   const std::vector<std::int32_t>& text,
                                   std::vector<std::int64_t>& masks) {
    std::int64_t total = 0;
    GrammarMatcher at = start;
    for (const std::int32_t token : text) {
      const auto begin = Clock::now();
      GENESIS_TRY_VOID(at.mask(bits_));
      masks.push_back(since(begin));
      const auto id = static_cast<std::size_t>(token);
      times_.refused += (bits_[id / 64] >> (id % 64) & 1) != 0 ? 0 : 1;
      const auto middle = Clock::now();
      times_.refused += at.accept(token) ? 0 : 1;
      total += masks.back() + since(middle);
    }
    times_.refused += at.can_end() ? 0 : 1;
    return total;
  }

  std::shared_ptr<const TokenTrie> trie_;
  std::vector<std::uint64_t> bits_;
  Times times_;
};

void write_list(JsonWriter& out, std::string_view name, const std::vector<std::int64_t>& values) {
  out.key(name);
  out.begin_array();
  for (const std::int64_t value : values) {
    out.integer(value);
  }
  out.end_array();
}

Result<void> run(const std::string& tokenizer_path, const std::string& cases_path, int passes) {
  constexpr std::size_t kMaxFile = 512 * 1024 * 1024;
  GENESIS_TRY(const std::string tokenizer_json, read_file(tokenizer_path, kMaxFile));
  GENESIS_TRY(const auto tokenizer, Tokenizer::from_tokenizer_json(tokenizer_json));
  GENESIS_TRY(const std::string cases_json, read_file(cases_path, kMaxFile));
  GENESIS_TRY(const boost::json::value cases, parse_json(cases_json));
  Bench bench(*tokenizer);
  for (const auto& one : cases.as_array()) {
    GENESIS_TRY_VOID(bench.run(one.as_object().at("schema").as_string(),
                               boost::json::value_to<Tokens>(one.as_object().at("tokens")),
                               passes));
  }
  JsonWriter out;
  out.begin_object();
  write_list(out, "trie", bench.times().trie);
  write_list(out, "compile", bench.times().compile);
  write_list(out, "first", bench.times().first);
  write_list(out, "later", bench.times().later);
  write_list(out, "replay", bench.times().replay);
  out.field("refused", bench.times().refused);
  out.end_object();
  std::cout << out.take() << '\n';
  return {};
}

}  // namespace

}  // namespace genesis::text

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: grammar_speed TOKENIZER.json CASES.json PASSES\n";
    return 2;
  }
  const auto done = genesis::text::run(argv[1], argv[2], std::atoi(argv[3]));
  if (!done) {
    std::cerr << done.error().message << '\n';
    return 1;
  }
  return 0;
}
