// Masks and forced tokens.
#include "engine/grammar_guide.h"

#include <string>
#include <string_view>
#include <utility>

namespace genesis::engine {

namespace {

// Longer texts are forced in several goes; bounds the work of one step.
constexpr std::size_t kMostForcedBytes = 256;

}  // namespace

GrammarGuide::GrammarGuide(text::GrammarMatcher start,
                           std::shared_ptr<const text::Tokenizer> tokenizer,
                           std::vector<std::int32_t> end_ids)
    : matcher_(std::move(start)), tokenizer_(std::move(tokenizer)), end_ids_(std::move(end_ids)) {}

Result<void> GrammarGuide::mask(std::span<std::uint64_t> allowed, std::int64_t tokens_left) {
  GENESIS_TRY_VOID(matcher_.mask(allowed, tokens_left));
  if (matcher_.can_end()) {
    for (const std::int32_t id : end_ids_) {
      allowed[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
    }
  }
  return {};
}

bool GrammarGuide::accept(std::int32_t token) {
  return matcher_.accept(token);
}

bool GrammarGuide::must_end() const {
  return matcher_.must_end();
}

std::vector<std::int32_t> GrammarGuide::forced() const {
  const std::string text = matcher_.forced(kMostForcedBytes);
  if (text.size() < 2) {
    return {};
  }
  const std::vector<std::int32_t> ids =
      tokenizer_->encode(text, {.add_special_tokens = false, .parse_special = false});
  std::vector<std::int32_t> out;
  text::GrammarMatcher at = matcher_;
  std::string_view left = text;
  for (const std::int32_t id : ids) {
    // A tokenizer that puts a blank before every text spells something else here.
    const std::string bytes = tokenizer_->token_bytes(id);
    if (bytes.empty() || !left.starts_with(bytes) || !at.accept(id)) {
      break;
    }
    left.remove_prefix(bytes.size());
    if (left.empty() && !at.must_end()) {
      break;
    }
    out.push_back(id);
  }
  return out;
}

}  // namespace genesis::engine
