// Post-processor: the special tokens around an encoded text, as BOS and EOS, and what offsets leave
// out.
#pragma once

#include "base/result.h"
#include "text/tokenizer.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace genesis::text {

// White space at the ends of a token, counted in characters.
struct TokenMargins {
  std::size_t leading = 0;
  std::size_t trailing = 0;
};

// Immutable; safe from any thread.
class PostProcessor {
 public:
  // One place of a template: the text's ids, or fixed ids.
  struct Slot {
    bool is_text = false;
    std::vector<std::int32_t> ids;
  };

  PostProcessor() = default;

  explicit PostProcessor(std::vector<Slot> slots) { steps_.push_back({std::move(slots), {}}); }

  // Reads the "post_processor" member of a tokenizer.json; null does nothing.
  static Result<PostProcessor> parse(const boost::json::value& json, std::int32_t vocab_size);

  std::vector<std::int32_t> apply(std::vector<std::int32_t> ids, bool add_special_tokens) const;

  // Does any step look at the margins?
  bool trims() const;

  // The same with offsets; `margins` has an entry for every token, if trims().
  Encoding apply(Encoding encoding,
                 std::vector<TokenMargins> margins,
                 bool add_special_tokens) const;

  // The fixed id every text begins with, if any.
  std::optional<std::int32_t> first_id() const;

 private:
  // Leaves white space out of offsets; `keeps_prefix`: not the space a pre-tokenizer added.
  struct Trim {
    bool keeps_prefix;
  };

  struct Step {
    std::vector<Slot> slots;  // empty: a trimming step
    std::optional<Trim> trim;
  };

  Result<void> add(const boost::json::value& json, std::int32_t vocab_size, std::size_t depth);
  Result<void> add_trim(const boost::json::object& json);

  std::vector<Step> steps_;  // one after the other
};

}  // namespace genesis::text
