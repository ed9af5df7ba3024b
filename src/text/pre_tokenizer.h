// Pre-tokenizers: cut a text into the words the model sees one by one. Semantics follow the
// `tokenizers` package; a component is one class here and one line in pre_tokenizer.cpp's table.
#pragma once

#include "base/result.h"
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
  std::vector<std::string_view> list;
  std::deque<std::string> made;  // words that are not part of the text, e.g. with a prefix space
};

// Immutable; safe from any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces every piece by its parts. Pieces are valid UTF-8 and not empty, before and after.
  virtual void split(Pieces& pieces) const = 0;
};

// Reads the "pre_tokenizer" member of a tokenizer.json. In this release the chain must end in
// ByteLevel, so that what leaves it are the bytes of the words.
Result<std::unique_ptr<const PreTokenizer>> parse_pre_tokenizer(
    const boost::json::value& json, std::shared_ptr<const CharTable> table);

// The chain a GGUF file means by `tokenizer.ggml.pre`; kUnsupported names an unknown one.
Result<std::unique_ptr<const PreTokenizer>> gguf_pre_tokenizer(
    std::string_view name, std::shared_ptr<const CharTable> table);

}  // namespace genesis::text
