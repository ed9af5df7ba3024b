// Post-processor: the special tokens around an encoded text, as BOS and EOS.
#pragma once

#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace genesis::text {

class PostProcessor {
 public:
  // One place of a template: the text's ids, or fixed ids.
  struct Slot {
    bool is_text = false;
    std::vector<std::int32_t> ids;
  };

  PostProcessor() = default;

  explicit PostProcessor(std::vector<Slot> slots) { templates_.push_back(std::move(slots)); }

  // Reads the "post_processor" member of a tokenizer.json; null does nothing.
  static Result<PostProcessor> parse(const boost::json::value& json, std::int32_t vocab_size);

  std::vector<std::int32_t> apply(std::vector<std::int32_t> ids, bool add_special_tokens) const;

  // The fixed id every text begins with, if any.
  std::optional<std::int32_t> first_id() const;

 private:
  Result<void> add(const boost::json::value& json, std::int32_t vocab_size, std::size_t depth);

  std::vector<std::vector<Slot>> templates_;  // applied one after the other
};

}  // namespace genesis::text
