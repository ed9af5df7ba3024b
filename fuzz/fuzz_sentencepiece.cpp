// Fuzz target: a sentencepiece tokenizer.model from a stranger.
#include "tokenizer_promises.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view model(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = genesis::text::Tokenizer::from_sentencepiece(model);
  if (tokenizer) {
    genesis::fuzz::try_tokenizer(*tokenizer,
                                 "Hello  w\xC3\xB6rld, it's 2024! <s> \xF0\x9F\x98\x80\n\xFF");
    genesis::fuzz::try_tokenizer(*tokenizer, model.substr(0, 512));
  }
  return 0;
}
