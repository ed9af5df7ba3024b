// Guide: what may come next in one answer, for answers that must have a form. The engine asks
// before it samples and tells what was chosen.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace genesis::engine {

// One answer's; belongs to the step thread once the request is submitted.
class Guide {
 public:
  virtual ~Guide() = default;

  // Sets the bits of the tokens that may come next, end tokens included where the answer may end;
  // `allowed` comes cleared, with one bit per id of the vocabulary. At most `tokens_left` more
  // tokens fit: the answer is led to its end in time where that is possible.
  virtual Result<void> mask(std::span<std::uint64_t> allowed, std::int64_t tokens_left) = 0;
  // A token that is no end token was chosen. False: it may not come here.
  virtual bool accept(std::int32_t token) = 0;
  // Whether the answer is whole now and nothing may follow.
  virtual bool must_end() const = 0;
  // Tokens that must come next, whatever the model would choose; may be empty although the text is
  // settled, when it is not settled which tokens spell it best.
  virtual std::vector<std::int32_t> forced() const = 0;
};

// Makes the guide of one choice; empty: anything may come.
using GuideFactory = std::function<std::unique_ptr<Guide>()>;

}  // namespace genesis::engine
