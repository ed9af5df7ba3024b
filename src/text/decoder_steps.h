// The single decoders that Decoder::parse() chains.
#pragma once

#include "text/decoder.h"
#include "text/finder.h"

#include <memory>
#include <string>

namespace genesis::text {

std::unique_ptr<const DecodeStep> decode_bpe(std::string suffix);
std::unique_ptr<const DecodeStep> decode_byte_fallback();
std::unique_ptr<const DecodeStep> decode_byte_level();

struct CtcOptions {
  std::string pad_token;
  std::string word_delimiter;
  bool cleanup;
};

std::unique_ptr<const DecodeStep> decode_ctc(CtcOptions options);
std::unique_ptr<const DecodeStep> decode_fuse();
// A null decoder: a space between tokens.
std::unique_ptr<const DecodeStep> decode_join();
// `strips`: the replacement goes, rather than becoming a space, in the first token.
std::unique_ptr<const DecodeStep> decode_metaspace(char32_t replacement, bool strips);
std::unique_ptr<const DecodeStep> decode_replace(Finder finder, std::string with);

struct StripOptions {
  char32_t content;
  std::size_t start;  // at most so many at the front of each token
  std::size_t stop;   // and at its end
};

std::unique_ptr<const DecodeStep> decode_strip(StripOptions options);
std::unique_ptr<const DecodeStep> decode_word_piece(std::string prefix, bool cleanup);

}  // namespace genesis::text
