// The parts of a tokenizer by hand: what the parity tests cover by the thousand, once each, so that
// a broken part is named.
#include "text/charsmap.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/protobuf_reader.h"
#include "text/tokenizer.h"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::text {
namespace {

using Ids = std::vector<std::int32_t>;
using Offsets = std::vector<TokenOffsets>;

std::shared_ptr<const CharTable> table() {
  static const auto shared = std::make_shared<const CharTable>();
  return shared;
}

TEST(Normalizer, ChainsAndTracks) {
  const auto chain = parse_normalizer(boost::json::parse(R"({"type":"Sequence","normalizers":[
      {"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"},
      {"type":"Replace","pattern":{"String":" "},"content":"__"},
      {"type":"Prepend","prepend":">"}]})"),
                                      table());
  ASSERT_TRUE(chain) << chain.error().message;
  AlignedText text;
  text.text = "\xC3\x84 B";
  text.origin = origins_of(text.text);
  text.tracked = true;
  (*chain)->apply(text);
  EXPECT_EQ(text.text, ">a__b");
  ASSERT_EQ(text.origin.size(), text.text.size());
  EXPECT_EQ(text.origin[1].end, 2U);
  EXPECT_EQ(text.origin[4].begin, 3U);
}

TEST(Normalizer, BoundsWhatAChainMakes) {
  std::string steps;
  for (int i = 0; i < 20; ++i) {
    steps += std::string(i == 0 ? "" : ",") +
             R"({"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaa"})";
  }
  const auto chain = parse_normalizer(
      boost::json::parse(R"({"type":"Sequence","normalizers":[)" + steps + "]}"), table());
  ASSERT_TRUE(chain);
  AlignedText text;
  text.text = "a";
  (*chain)->apply(text);
  EXPECT_LT(text.text.size(), std::size_t{1} << 20);
}

std::string decode(std::string_view decoder, const std::vector<std::string>& tokens) {
  const auto parsed = Decoder::parse(boost::json::parse(decoder), table());
  EXPECT_TRUE(parsed) << parsed.error().message;
  DecodeChain chain = parsed->start();
  std::string out;
  for (const std::string& token : tokens) {
    out += chain.push(token);
  }
  return out + chain.finish();
}

TEST(Decoder, Kinds) {
  EXPECT_EQ(decode("null", {"a", "", "b"}), "a  b");
  EXPECT_EQ(decode(R"({"type":"BPEDecoder","suffix":"$"})", {"a$", "b$"}), "a b");
  EXPECT_EQ(decode(R"({"type":"WordPiece","prefix":"##","cleanup":true})", {"it", "##s", "."}),
            "its.");
  EXPECT_EQ(decode(R"({"type":"ByteFallback"})", {"<0xC3>", "<0xA4>", "x", "<0xC3>"}),
            "\xC3\xA4x\xEF\xBF\xBD");
  EXPECT_EQ(decode(R"({"type":"CTC","pad_token":"_","word_delimiter_token":"|","cleanup":true})",
                   {"a", "a", "_", "a", "|"}),
            "aa ");
  EXPECT_EQ(decode(R"({"type":"Sequence","decoders":[{"type":"Fuse"},
                       {"type":"Strip","content":" ","start":1,"stop":1}]})",
                   {" ", " a", " "}),
            " a");
}

TEST(Decoder, GivesTextAsSoonAsItIsCertain) {
  const Decoder pieces = Decoder::pieces(true);
  DecodeChain chain = pieces.start();
  EXPECT_EQ(chain.push("\xE2\x96\x81Hello"), "Hello");
  EXPECT_EQ(chain.push("\xE2\x96\x81you"), " you");
  EXPECT_EQ(chain.push("<0xC3>"), "");
  EXPECT_EQ(chain.push("<0xA4>"), "") << "the run of bytes may yet turn out to be no text";
  EXPECT_EQ(chain.push("!"), "\xC3\xA4!");
  EXPECT_EQ(chain.finish(), "");
  EXPECT_EQ(pieces.bytes_of("\xE2\x96\x81you"), " you");
  EXPECT_EQ(pieces.bytes_of("<0xC3>"), "\xC3");
}

TEST(Charsmap, RefusesWhatIsCut) {
  EXPECT_FALSE(Charsmap::parse(""));
  EXPECT_FALSE(Charsmap::parse(std::string("\x08\0\0\0abcd", 8)));
  const auto empty = Charsmap::parse(std::string("\x04\0\0\0\0\0\0\0a\0", 10));
  ASSERT_TRUE(empty);
  EXPECT_FALSE(empty->longest("abc"));
}

TEST(Protobuf, ReadsFieldsAndRefusesDamage) {
  ProtobufReader reader(std::string_view("\x0A\x02hi\x10\x96\x01\x1D\0\0\x80\x3F", 12));
  auto field = reader.next();
  ASSERT_TRUE(field && *field);
  EXPECT_EQ((*field)->bytes, "hi");
  field = reader.next();
  EXPECT_EQ((*field)->integer, 150U);
  field = reader.next();
  EXPECT_EQ((*field)->as_float(), 1.0F);
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_FALSE(*field);
  for (const std::string_view damaged : {"\x0A\x05hi", "\x08", "\x0F\x01", "\x1D\x01"}) {
    EXPECT_FALSE(ProtobufReader(damaged).next()) << damaged.size();
  }
}

constexpr std::string_view kPieces = R"({"added_tokens":[{"id":0,"content":"<s>","special":true}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},
                  {"type":"Replace","pattern":{"String":" "},"content":"_"}]},
    "pre_tokenizer":null,"post_processor":null,
    "decoder":{"type":"Sequence","decoders":[
      {"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},
      {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":null,"byte_fallback":true,"merges":["_ a","_a b"],
             "vocab":{"<s>":0,"a":1,"b":2,"_":3,"_a":4,"_ab":5,"<0xC3>":6,"<0xA4>":7}}})";

TEST(Tokenizer, PiecesWithOffsetsAndByteFallback) {
  const auto t = Tokenizer::from_tokenizer_json(kPieces);
  ASSERT_TRUE(t) << t.error().message;
  const Encoding encoding = (*t)->encode_with_offsets("ab \xC3\xA4 a<s>b");
  EXPECT_EQ(encoding.ids, (Ids{5, 3, 6, 7, 4, 0, 3, 2}));
  EXPECT_EQ(encoding.offsets,
            (Offsets{{0, 2}, {2, 3}, {3, 4}, {3, 4}, {4, 6}, {6, 9}, {9, 10}, {9, 10}}));
  EXPECT_EQ((*t)->encode("ab \xC3\xA4 a<s>b"), encoding.ids);
  EXPECT_EQ((*t)->decode(encoding.ids, true), "ab \xC3\xA4 a b");
  EXPECT_EQ((*t)->token_bytes(5), " ab");
  EXPECT_EQ((*t)->token_bytes(6), "\xC3");
  const std::vector<PlainSpan> typed{{0, 7}};
  EXPECT_EQ((*t)->encode("a<s>", {.plain_spans = typed}), (Ids{4}))
      << "the special token is text, of which no byte has a token";
}

}  // namespace
}  // namespace genesis::text
