// The executor on a vocabulary small enough to check by hand; parity with the `tokenizers` package
// on a real one is in tests/parity.
#include "text/tokenizer.h"

#include "base/json.h"
#include "text/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::text {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

// Ids 0 to 6 are "a" to "g", 7 is a space; then merges. \xC4\xA0 is U+0120, the space's stand-in.
#define SPACE "\xC4\xA0"

const std::vector<std::string> kTokens = {"a",
                                          "b",
                                          "c",
                                          "d",
                                          "e",
                                          "f",
                                          "g",
                                          SPACE,
                                          "ab",
                                          SPACE "c",
                                          SPACE "cd",
                                          "abe",
                                          "<s>",
                                          "</s>",
                                          "\xC3\xA7"};
constexpr std::int32_t kStart = 12;
constexpr std::int32_t kEnd = 13;

GgufVocabulary vocabulary() {
  GgufVocabulary out;
  out.model = "gpt2";
  out.pre = "gpt-2";
  out.tokens = kTokens;
  out.token_types = std::vector<std::int32_t>(kTokens.size(), 1);
  out.token_types[kStart] = 3;
  out.token_types[kEnd] = 3;
  out.merges = {"a b", SPACE " c", SPACE "c d", "ab e"};
  out.bos_id = kStart;
  out.eos_id = kEnd;
  return out;
}

std::shared_ptr<const Tokenizer> tokenizer() {
  return Tokenizer::from_gguf(vocabulary()).value();
}

// A tokenizer.json of the same vocabulary; `replace` swaps one piece of it for another.
std::string document(std::string_view what = {}, std::string_view with = {}) {
  JsonWriter vocab;
  vocab.begin_object();
  for (std::size_t i = 0; i < kTokens.size(); ++i) {
    vocab.field(kTokens[i], static_cast<std::int64_t>(i));
  }
  vocab.end_object();
  std::string json =
      R"({"added_tokens":[{"id":12,"content":"<s>","special":true},)"
      R"({"id":13,"content":"</s>","special":true}],"normalizer":null,)"
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},)"
      R"("post_processor":null,"decoder":{"type":"ByteLevel"},)"
      R"("model":{"type":"BPE","unk_token":null,"merges":["a b",")" SPACE R"( c",")" SPACE
      R"(c d","ab e"],"vocab":)" +
      vocab.take() + "}}";
  if (!what.empty()) {
    const std::size_t at = json.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    json.replace(at, what.size(), with);
  }
  return json;
}

TEST(Tokenizer, EncodesAndDecodes) {
  for (const auto& t : {tokenizer(), Tokenizer::from_tokenizer_json(document()).value()}) {
    EXPECT_EQ(t->encode("abe cd c"), (Ids{11, 10, 9}));
    EXPECT_EQ(t->encode("<s>ab</s>"), (Ids{kStart, 8, kEnd}));
    EXPECT_EQ(t->encode(""), Ids{});
    EXPECT_EQ(t->encode("zab"), Ids{8}) << "bytes without a token vanish";
    EXPECT_EQ(t->decode(Ids{kStart, 11, 10, kEnd}, false), "<s>abe cd</s>");
    EXPECT_EQ(t->decode(Ids{kStart, 11, 10, kEnd, 99}, true), "abe cd");
    EXPECT_EQ(t->vocab_size(), 15);
    EXPECT_EQ(t->token_id("abe"), 11);
    EXPECT_EQ(t->token_id("nope"), std::nullopt);
    EXPECT_TRUE(t->is_special(kEnd));
    EXPECT_FALSE(t->is_special(0));
    EXPECT_EQ(t->token_bytes(14), "\xE7");
    EXPECT_EQ(t->token_bytes(-1), "");
  }
}

TEST(Tokenizer, GgufNamesTheEndOfAGeneration) {
  GgufVocabulary with_turns = vocabulary();
  with_turns.eot_id = 0;
  with_turns.add_bos = true;
  const auto t = Tokenizer::from_gguf(with_turns).value();
  EXPECT_THAT(t->end_ids(), testing::ElementsAre(kEnd, 0));
  EXPECT_EQ(t->bos_id(), kStart);
  EXPECT_EQ(t->encode("ab"), (Ids{kStart, 8}));
  EXPECT_EQ(t->encode("ab", {.add_special_tokens = false}), Ids{8});
}

TEST(Tokenizer, PlainSpansKeepSpecialTokensText) {
  const auto t = tokenizer();
  const std::string text = "<s>ab</s>";
  const Ids typed = t->encode("</s>", {.parse_special = false});
  const std::vector<PlainSpan> user{{3, 9}};
  Ids expected{kStart, 8};
  expected.insert(expected.end(), typed.begin(), typed.end());
  EXPECT_EQ(t->encode(text, {.plain_spans = user}), expected);
  const std::vector<PlainSpan> before{{0, 1}};
  EXPECT_EQ(t->encode(text, {.plain_spans = before}).back(), kEnd);
  // A token that begins in the template counts, even if its end is plain.
  const std::vector<PlainSpan> middle{{1, 2}};
  EXPECT_EQ(t->encode(text, {.plain_spans = middle}), (Ids{kStart, 8, kEnd}));
}

TEST(Tokenizer, RefusesByName) {
  const auto refused = [](std::string_view what, std::string_view with) {
    const auto t = Tokenizer::from_tokenizer_json(document(what, with));
    EXPECT_FALSE(t.has_value()) << with;
    return t ? Error() : t.error();
  };
  const std::string byte_level =
      R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  Error error = refused(byte_level, R"({"type":"Strange1"})");
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("Strange1"));
  error = refused(R"("normalizer":null)", R"("normalizer":{"type":"Strange2"})");
  EXPECT_THAT(error.message, HasSubstr("Strange2"));
  error = refused(R"("type":"BPE")", R"("type":"Strange3")");
  EXPECT_THAT(error.message, HasSubstr("Strange3"));
  error = refused(R"("decoder":{"type":"ByteLevel"})", R"("decoder":{"type":"Strange4"})");
  EXPECT_THAT(error.message, HasSubstr("Strange4"));
  error = refused(R"("post_processor":null)", R"("post_processor":{"type":"Strange5"})");
  EXPECT_THAT(error.message, HasSubstr("Strange5"));
  error = refused(byte_level, R"({"type":"Metaspace","replacement":"ab"})");
  EXPECT_THAT(error.message, HasSubstr("replacement"));

  GgufVocabulary strange = vocabulary();
  strange.pre = "strange";
  const auto t = Tokenizer::from_gguf(strange);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(t.error().message, HasSubstr("strange"));
}

TEST(Tokenizer, RefusesBrokenFiles) {
  const std::vector<std::pair<std::string_view, std::string_view>> changes = {
      {R"("ab e")", R"("ab zz")"},  // a merge of an absent token
      {R"("ab e")", R"("abe")"},
      {R"("ab e")", "7"},
      {R"("abe":11)", R"("abe":10)"},  // two tokens, one id
      {R"("abe":11)", R"("abe":-1)"},
      {R"("abe":11)", R"("abe":99999999999)"},
      {R"("abe":11)", R"("abe":"x")"},
      {R"("id":13)", R"("id":14)"},  // not the vocabulary's id
      {R"("content":"</s>")", R"("content":"<s>")"},
      {R"("content":"</s>")", R"("content":"")"},
      {R"("unk_token":null)", R"("unk_token":"nope")"},
      {R"("post_processor":null)",
       R"("post_processor":{"type":"RobertaProcessing","cls":["<s>",99],"sep":["</s>",13]})"},
      {R"("vocab":)", R"("vocabulary":)"},
  };
  for (const auto& [what, with] : changes) {
    EXPECT_FALSE(Tokenizer::from_tokenizer_json(document(what, with))) << with;
  }
  for (const std::string_view json : {"", "[]", "{}", "{\"model\":1}", "nonsense"}) {
    EXPECT_FALSE(Tokenizer::from_tokenizer_json(json)) << json;
  }
  EXPECT_FALSE(Tokenizer::from_tokenizer_json(std::string(100'000, '[')));

  GgufVocabulary broken = vocabulary();
  broken.eos_id = 500;
  EXPECT_FALSE(Tokenizer::from_gguf(broken));
  broken = vocabulary();
  broken.token_types.pop_back();
  EXPECT_FALSE(Tokenizer::from_gguf(broken));
  broken = vocabulary();
  broken.tokens[3] = "\xFF";
  EXPECT_FALSE(Tokenizer::from_gguf(broken));
}

TEST(Tokenizer, AddedTokensTakeSpaceAndRespectWords) {
  const std::string tokens = R"({"id":13,"content":"</s>","special":true})";
  const auto t = Tokenizer::from_tokenizer_json(
      document(tokens,
               R"({"id":13,"content":"</s>","lstrip":true,"rstrip":true},)"
               R"({"id":15,"content":"cab","single_word":true})"));
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ((*t)->encode("ab \n </s>  c"), (Ids{8, kEnd, 2}));
  EXPECT_EQ((*t)->encode("cab"), Ids{15});
  EXPECT_EQ((*t)->encode("cabe"), (Ids{2, 11}));
  EXPECT_EQ((*t)->vocab_size(), 16);
}

// All 256 bytes and a merge ladder, for words of any length.
BpeModel ladder(const std::vector<std::string>& names) {
  BpeSource source;
  for (std::size_t i = 0; i < names.size(); ++i) {
    source.vocabulary.emplace_back(names[i], static_cast<std::int32_t>(i));
  }
  for (const auto& [left, right] : {std::pair{"a", "a"}, {"aa", "aa"}, {"a", "b"}, {"aa", "ab"}}) {
    source.merges.emplace_back(left, right);
  }
  return BpeModel::build(source).value();
}

TEST(Bpe, LongWordsAreMergedLikeShortOnes) {
  const std::vector<std::string> names = {"a", "b", "aa", "aaaa", "ab", "aaab"};
  const BpeModel model = ladder(names);
  ModelScratch scratch;
  const auto encode = [&](const std::string& word) {
    Ids out;
    model.encode(word, scratch, out);
    return out;
  };
  EXPECT_EQ(encode("aaab"), Ids{5});
  EXPECT_EQ(encode("aaaab"), (Ids{3, 1})) << "by rank, not from the left with the longest";
  EXPECT_EQ(encode(std::string(9, 'a')), (Ids{3, 3, 0}));
  // 30 symbols take the heap, 5 the scan; no merge crosses from one repetition into the next.
  Ids once = encode("aabab");
  Ids six;
  for (int i = 0; i < 6; ++i) {
    six.insert(six.end(), once.begin(), once.end());
  }
  std::string word;
  for (int i = 0; i < 6; ++i) {
    word += "aabab";
  }
  EXPECT_EQ(encode(word), six);
}

TEST(Bpe, OneMegabyteWord) {
  const std::vector<std::string> names = {"a", "b", "aa", "aaaa", "ab", "aaab"};
  const BpeModel model = ladder(names);
  ModelScratch scratch;
  Ids out;
  model.encode(std::string(1 << 20, 'a'), scratch, out);
  EXPECT_EQ(out, Ids(1 << 18, 3));
}

TEST(Detokenizer, HoldsBackUnfinishedCharacters) {
  GgufVocabulary bytes = vocabulary();
  // The alphabet's characters for the bytes of U+1F600: F0 9F 98 80.
  bytes.tokens = {"\xC3\xB0", "\xC5\x81", "\xC4\xBA", "\xC4\xA2", "a", "<s>"};
  bytes.token_types = {1, 1, 1, 1, 1, 3};
  bytes.merges.clear();
  bytes.bos_id = bytes.eos_id = 5;
  const auto t = Tokenizer::from_gguf(bytes).value();
  ASSERT_EQ(t->decode(Ids{0, 1, 2, 3}, false), "\xF0\x9F\x98\x80");
  Detokenizer stream(t, true);
  EXPECT_EQ(stream.push(0), "");
  EXPECT_EQ(stream.push(1), "");
  EXPECT_EQ(stream.push(5), "") << "special, skipped";
  EXPECT_EQ(stream.push(2), "");
  EXPECT_EQ(stream.push(3), "\xF0\x9F\x98\x80");
  EXPECT_EQ(stream.push(0), "");
  EXPECT_EQ(stream.push(4),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(stream.push(0), "");
  EXPECT_EQ(stream.flush(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.flush(), "");
}

std::pair<std::string, bool> feed(StopMatcher matcher, const std::vector<std::string>& pieces) {
  std::string text;
  bool stopped = false;
  for (const std::string& piece : pieces) {
    const StopMatcher::Output out = matcher.push(piece);
    text += out.text;
    stopped = out.stopped;
  }
  return {text + matcher.flush(), stopped};
}

TEST(StopMatcher, FindsStopsAcrossPieces) {
  using Fed = std::pair<std::string, bool>;
  EXPECT_EQ(feed(StopMatcher({"END"}), {"abE", "N", "Dxyz", "more"}), Fed("ab", true));
  EXPECT_EQ(feed(StopMatcher({"END"}, true), {"abE", "N", "Dxyz"}), Fed("abEND", true));
  EXPECT_EQ(feed(StopMatcher({"END"}), {"abE", "NE"}), Fed("abENE", false));
  EXPECT_EQ(feed(StopMatcher({"aab"}), {"aa", "ab"}), Fed("a", true));
  EXPECT_EQ(feed(StopMatcher({"abcd", "bc"}), {"ab", "cd"}), Fed("a", true));
  EXPECT_EQ(feed(StopMatcher({"abcd", "bc"}), {"abcd"}), Fed("a", true));
  EXPECT_EQ(feed(StopMatcher({"c", "bc"}), {"abc"}), Fed("a", true));
  EXPECT_EQ(feed(StopMatcher({""}), {"abc"}), Fed("abc", false));
  EXPECT_EQ(feed(StopMatcher({}), {"a", ""}), Fed("a", false));
}

TEST(StopMatcher, HoldsBackOnlyWhatCouldStop) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Hello\n").text, "Hello");
  EXPECT_EQ(matcher.push("World").text, "\nWorld");
  EXPECT_EQ(matcher.push("\n\nUs").text, "");
  EXPECT_EQ(matcher.push("e").text, "");
  EXPECT_EQ(matcher.push("d").text, "\n\nUsed");
  EXPECT_EQ(matcher.flush(), "");
}

}  // namespace
}  // namespace genesis::text
