#include "text/vocabulary.h"

#include "base/random.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxTokenBytes = 64 * 1024;

std::unexpected<Error> bad_vocabulary(std::string message) {
  return fail_param("model.vocab", std::move(message), ErrorCode::kDataLoss);
}

}  // namespace

std::uint64_t hash_seed() {
  std::uint64_t seed = 0;
  std::array<std::uint8_t, sizeof seed> random{};
  secure_random_bytes(random);
  std::memcpy(&seed, random.data(), sizeof seed);
  return seed;
}

void TokenIndex::reserve(std::size_t count) {
  slots_.assign(std::bit_ceil(count * 2 + 8), -1);
}

std::size_t TokenIndex::start(std::string_view content) const {
  std::uint64_t hash = seed_ ^ content.size() * 0x9E3779B97F4A7C15ULL;
  for (std::size_t at = 0; at < content.size(); at += 8) {
    std::uint64_t chunk = 0;
    std::memcpy(&chunk, content.data() + at, std::min<std::size_t>(8, content.size() - at));
    hash = (hash ^ chunk) * 0xD6E8FEB86659FD93ULL;
    hash ^= hash >> 29 ^ seed_;
  }
  hash *= 0xBF58476D1CE4E5B9ULL;
  return static_cast<std::size_t>(hash ^ hash >> 31) & (slots_.size() - 1);
}

bool TokenIndex::insert(std::int32_t id, const std::vector<std::string>& contents) {
  const std::string& content = contents[static_cast<std::size_t>(id)];
  std::size_t at = start(content);
  while (slots_[at] >= 0) {
    if (contents[static_cast<std::size_t>(slots_[at])] == content) {
      return false;
    }
    at = (at + 1) & (slots_.size() - 1);
  }
  slots_[at] = id;
  return true;
}

std::int32_t TokenIndex::find(std::string_view content,
                              const std::vector<std::string>& contents) const {
  std::size_t at = start(content);
  while (slots_[at] >= 0 && contents[static_cast<std::size_t>(slots_[at])] != content) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return slots_[at];
}

Result<Vocabulary> Vocabulary::build(const TokenList& tokens, Spelling spelling) {
  Vocabulary out(spelling, hash_seed());
  GENESIS_TRY_VOID(out.add(tokens));
  return out;
}

Result<void> Vocabulary::add(const TokenList& tokens) {
  std::int32_t highest = -1;
  for (const auto& [token, id] : tokens) {
    if (id < 0 || id >= kMaxTokenId) {
      return bad_vocabulary(
          fmt::format("token '{}' has id {}, outside 0 to {}", token, id, kMaxTokenId - 1));
    }
    if (token.size() > kMaxTokenBytes || !is_valid_utf8(token)) {
      return bad_vocabulary(
          fmt::format("token {} is not UTF-8 text of at most {} bytes", id, kMaxTokenBytes));
    }
    highest = std::max(highest, id);
  }
  contents_.resize(static_cast<std::size_t>(highest + 1));
  kinds_.resize(contents_.size());
  words_.reserve(tokens.size());
  others_.reserve(spelling_ == Spelling::kBytes ? tokens.size() : 0);
  count_ = static_cast<std::int32_t>(tokens.size());
  for (const auto& [token, id] : tokens) {
    const auto at = static_cast<std::size_t>(id);
    if (kinds_[at] != Kind::kNone) {
      return bad_vocabulary(
          fmt::format("id {} belongs to two tokens, one of them '{}'", id, token));
    }
    std::optional<std::string> bytes =
        spelling_ == Spelling::kBytes ? alphabet_.to_bytes(token) : std::string(token);
    kinds_[at] = bytes ? Kind::kWord : Kind::kOther;
    contents_[at] = bytes ? std::move(*bytes) : std::string(token);
    if (!(kinds_[at] == Kind::kWord ? words_ : others_).insert(id, contents_)) {
      return bad_vocabulary(fmt::format("token '{}' is in the vocabulary twice", token));
    }
  }
  return {};
}

std::string Vocabulary::spelled(std::int32_t id) const {
  if (spelling_ == Spelling::kText || !has(id) ||
      kinds_[static_cast<std::size_t>(id)] == Kind::kOther) {
    return std::string(content(id));
  }
  std::string out;
  for (const char c : content(id)) {
    append_utf8(out, alphabet_.character(static_cast<unsigned char>(c)));
  }
  return out;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view spelled) const {
  if (!is_valid_utf8(spelled)) {
    return std::nullopt;
  }
  const std::optional<std::string> bytes =
      spelling_ == Spelling::kBytes ? alphabet_.to_bytes(spelled) : std::string(spelled);
  const std::int32_t id = bytes ? words_.find(*bytes, contents_) : others_.find(spelled, contents_);
  return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace genesis::text
