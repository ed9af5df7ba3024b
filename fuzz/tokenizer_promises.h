// What every tokenizer promises, whatever file it came from: ids exist, offsets come with the same
// ids, and decoding piece by piece equals decoding at once.
#pragma once

#include "base/check.h"
#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::fuzz {

inline void try_decoding(const std::shared_ptr<const text::Tokenizer>& tokenizer,
                         const std::vector<std::int32_t>& ids,
                         bool skip_special) {
  text::Detokenizer incremental(tokenizer, skip_special);
  std::string pieces;
  for (const std::int32_t id : ids) {
    pieces += incremental.push(id);
  }
  pieces += incremental.flush();
  GENESIS_CHECK(pieces == tokenizer->decode(ids, skip_special));
}

inline void try_tokenizer(const std::shared_ptr<const text::Tokenizer>& tokenizer,
                          std::string_view input) {
  const std::vector<std::int32_t> ids = tokenizer->encode(input);
  for (const std::int32_t id : ids) {
    GENESIS_CHECK(id >= 0 && id < tokenizer->vocab_size());
    tokenizer->token_bytes(id);
  }
  try_decoding(tokenizer, ids, false);
  try_decoding(tokenizer, ids, true);
  const text::Encoding tracked = tokenizer->encode_with_offsets(input);
  GENESIS_CHECK(tracked.ids == ids);
  GENESIS_CHECK(tracked.offsets.size() == ids.size());
  const std::vector<text::PlainSpan> typed{{input.size() / 3, input.size() / 2}};
  for (const std::int32_t id : tokenizer->encode(input, {.plain_spans = typed})) {
    GENESIS_CHECK(id >= 0 && id < tokenizer->vocab_size());
  }
}

}  // namespace genesis::fuzz
