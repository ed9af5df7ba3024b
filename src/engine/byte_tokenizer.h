// A Tokenizer for tests: every byte is a token, and some special tokens follow.
#pragma once

#include "text/tokenizer.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::engine {

class ByteTokenizer final : public text::Tokenizer {
 public:
  // The first of `special` is the end token.
  explicit ByteTokenizer(std::vector<std::string> special) : special_(std::move(special)) {}

  std::vector<std::int32_t> encode(std::string_view text,
                                   const text::EncodeOptions& options) const override {
    std::vector<std::int32_t> ids;
    for (std::size_t at = 0; at < text.size();) {
      const auto found = std::ranges::find_if(
          special_, [&](const std::string& token) { return text.substr(at).starts_with(token); });
      if (options.parse_special && found != special_.end()) {
        ids.push_back(kBytes + static_cast<std::int32_t>(found - special_.begin()));
        at += found->size();
      } else {
        ids.push_back(static_cast<unsigned char>(text[at++]));
      }
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      text += skip_special && is_special(id) ? "" : token_bytes(id);
    }
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    return is_special(id) ? special_[static_cast<std::size_t>(id - kBytes)]
                          : std::string(1, static_cast<char>(id));
  }

  bool is_special(std::int32_t id) const override { return id >= kBytes; }

  std::int32_t vocab_size() const override {
    return kBytes + static_cast<std::int32_t>(special_.size());
  }

  std::optional<std::int32_t> token_id(std::string_view token) const override {
    const auto found = std::ranges::find(special_, token);
    return found == special_.end()
               ? std::nullopt
               : std::optional(kBytes + static_cast<std::int32_t>(found - special_.begin()));
  }

  std::optional<std::int32_t> bos_id() const override { return std::nullopt; }

  std::span<const std::int32_t> end_ids() const override { return ends_; }

 private:
  static constexpr std::int32_t kBytes = 256;

  std::vector<std::string> special_;
  std::vector<std::int32_t> ends_{kBytes};
};

}  // namespace genesis::engine
