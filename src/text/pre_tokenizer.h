// Pre-tokenizers: cut a text into the words the model sees one by one. Semantics follow the
// `tokenizers` package; a component is one class and one line in pre_tokenizer.cpp's table.
#pragma once

#include "base/result.h"
#include "text/aligned_text.h"
#include "text/unicode.h"

#include <boost/json/fwd.hpp>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Words in order. Views point into the caller's text or into `made`.
struct Pieces {
  std::vector<Piece> list;
  std::deque<AlignedText> made;  // words that are not part of the text, e.g. with a prefix space
};

// Immutable; safe from any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces every piece by its parts. Pieces are valid UTF-8 and not empty, before and after.
  virtual void split(Pieces& pieces) const = 0;
};

struct PreTokenizerPlan {
  std::unique_ptr<const PreTokenizer> chain;  // null: the text is one word
  // The words leave as bytes, because the chain ends in ByteLevel and `bytes_wanted` was given.
  bool byte_level = false;
  // A step asks where in the input a piece began, and only a tracked text knows.
  bool needs_origin = false;
};

struct PreTokenizerOptions {
  bool bytes_wanted = false;      // leave out the mapping to printable characters if it comes last
  bool after_normalizer = false;  // the text may be changed already
};

// Reads the "pre_tokenizer" member of a tokenizer.json; null gives an empty plan.
Result<PreTokenizerPlan> parse_pre_tokenizer(const boost::json::value& json,
                                             std::shared_ptr<const CharTable> table,
                                             PreTokenizerOptions options);

// White space separates, punctuation stands alone.
std::unique_ptr<const PreTokenizer> make_bert_pre_tokenizer(std::shared_ptr<const CharTable> table);

}  // namespace genesis::text
