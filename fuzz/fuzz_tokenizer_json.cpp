// Fuzz target: a tokenizer.json from a stranger. It loads or is refused; what loads can encode and
// decode any text, and decoding piece by piece equals decoding at once.
#include "base/check.h"
#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

void try_out(const std::shared_ptr<const genesis::text::Tokenizer>& tokenizer,
             std::string_view text) {
  const std::vector<std::int32_t> ids = tokenizer->encode(text);
  genesis::text::Detokenizer incremental(tokenizer, false);
  std::string pieces;
  for (const std::int32_t id : ids) {
    GENESIS_CHECK(id >= 0 && id < tokenizer->vocab_size());
    pieces += incremental.push(id);
  }
  pieces += incremental.flush();
  GENESIS_CHECK(pieces == tokenizer->decode(ids, false));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = genesis::text::Tokenizer::from_tokenizer_json(json);
  if (tokenizer) {
    try_out(*tokenizer, "Hello  w\xC3\xB6rld, it's 2024! <s> \xF0\x9F\x98\x80\n\xFF");
    try_out(*tokenizer, json.substr(0, 512));
  }
  return 0;
}
