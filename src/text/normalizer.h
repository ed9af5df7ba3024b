// Normalizers: what is done to text before it is cut into words. Byte-level models use NFC or
// nothing.
#pragma once

#include "base/result.h"
#include "text/tokenizer.h"

#include <boost/json/fwd.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

struct Normalized {
  std::string text;
  std::vector<PlainSpan> spans;  // the given spans, moved to where their text went
};

// Immutable; safe from any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8; `spans` are sorted byte ranges of it.
  virtual Normalized apply(std::string_view text, std::span<const PlainSpan> spans) const = 0;
};

// Reads the "normalizer" member of a tokenizer.json; null gives a null pointer.
Result<std::unique_ptr<const Normalizer>> parse_normalizer(const boost::json::value& json);

Result<std::unique_ptr<const Normalizer>> make_nfc();

}  // namespace genesis::text
