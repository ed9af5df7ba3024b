// The Guide of a grammar: masks from its matcher, and the tokens that spell what must come.
#pragma once

#include "engine/guide.h"
#include "text/grammar/matcher.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace genesis::engine {

class GrammarGuide final : public Guide {
 public:
  // `start` stands at the beginning of the answer. `end_ids` may come where the text may end.
  GrammarGuide(text::GrammarMatcher start,
               std::shared_ptr<const text::Tokenizer> tokenizer,
               std::vector<std::int32_t> end_ids);

  Result<void> mask(std::span<std::uint64_t> allowed, std::int64_t tokens_left) override;
  bool accept(std::int32_t token) override;
  bool must_end() const override;
  // The text that must come as the tokenizer spells it, without the last token, which what follows
  // might have joined: the model is used to `":"` before a string, not to `":` and then `"`.
  std::vector<std::int32_t> forced() const override;

 private:
  text::GrammarMatcher matcher_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<std::int32_t> end_ids_;
};

}  // namespace genesis::engine
