// Normalizers: what is done to text before it is cut into words. Semantics follow the `tokenizers`
// package; a component is one class and one line in normalizer.cpp's table.
#pragma once

#include "base/result.h"
#include "text/aligned_text.h"
#include "text/unicode.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Immutable; safe from any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Changes `text`, which is valid UTF-8 and stays so.
  virtual void apply(AlignedText& text) const = 0;
};

// Reads the "normalizer" member of a tokenizer.json; null gives a null pointer.
Result<std::unique_ptr<const Normalizer>> parse_normalizer(const boost::json::value& json,
                                                           std::shared_ptr<const CharTable> table);

// One after the other, as long as the text stays below a size no honest normalizer reaches.
std::unique_ptr<const Normalizer> in_sequence(std::vector<std::unique_ptr<const Normalizer>> steps);

enum class UnicodeForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };
Result<std::unique_ptr<const Normalizer>> make_unicode_form(UnicodeForm form);

// BertNormalizer as published: clean, space ideographs, strip accents, lowercase.
Result<std::unique_ptr<const Normalizer>> make_bert_normalizer(
    std::shared_ptr<const CharTable> table);
std::unique_ptr<const Normalizer> make_prepend(std::string what);
std::unique_ptr<const Normalizer> make_replace_text(std::string what, std::string with);

}  // namespace genesis::text
