// A Guide for tests: which tokens may come, what is forced and where the answer ends are functions
// of the tokens so far.
#pragma once

#include "base/random.h"
#include "engine/guide.h"

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace genesis::engine {

class FakeGuide final : public Guide {
 public:
  FakeGuide(std::uint64_t seed, std::int32_t vocab, std::vector<std::int32_t> end_ids)
      : state_(seed), vocab_(vocab), end_ids_(std::move(end_ids)) {}

  static GuideFactory factory(std::uint64_t seed,
                              std::int32_t vocab,
                              std::vector<std::int32_t> end_ids) {
    return [=] { return std::make_unique<FakeGuide>(seed, vocab, end_ids); };
  }

  Result<void> mask(std::span<std::uint64_t> allowed, std::int64_t /*tokens_left*/) override {
    for (std::int32_t id = 0; id < vocab_; ++id) {
      const bool end = std::ranges::find(end_ids_, id) != end_ids_.end();
      if (end ? draw(7, 4) == 0 : fits(state_, id)) {
        allowed[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
      }
    }
    return {};
  }

  bool accept(std::int32_t token) override {
    if (!fits(state_, token)) {
      return false;
    }
    state_ = after(state_, token);
    return true;
  }

  bool must_end() const override { return draw(1, 23) == 0; }

  // Up to four tokens that fit one after the other.
  std::vector<std::int32_t> forced() const override {
    std::vector<std::int32_t> out;
    std::uint64_t state = state_;
    for (std::uint64_t n = draw(2, 3) == 0 ? 1 + draw(3, 4) : 0; n > 0; --n) {
      std::int32_t id = 0;
      while (!fits(state, id)) {
        ++id;
      }
      out.push_back(id);
      state = after(state, id);
    }
    return out;
  }

 private:
  static std::uint64_t after(std::uint64_t state, std::int32_t token) {
    return Random(state * 64 + static_cast<std::uint64_t>(token) + 1).next();
  }

  std::uint64_t draw(std::uint64_t what, std::uint64_t limit) const {
    return Random(state_ + what).next() % limit;
  }

  // Some tokens always fit, so that there is a way on; an end token is never forced.
  bool fits(std::uint64_t state, std::int32_t token) const {
    if (std::ranges::find(end_ids_, token) != end_ids_.end()) {
      return false;
    }
    return token >= vocab_ - 3 || after(state, token) % 3 != 0;
  }

  std::uint64_t state_;
  std::int32_t vocab_;
  std::vector<std::int32_t> end_ids_;
};

}  // namespace genesis::engine
