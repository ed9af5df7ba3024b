#include "text/added_tokens.h"

#include <algorithm>
#include <functional>
#include <iterator>

namespace genesis::text {

TokenMatcher::TokenMatcher(std::vector<AddedToken> tokens, std::shared_ptr<const CharTable> table)
    : tokens_(std::move(tokens)), table_(std::move(table)), ends_(1, -1) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::uint64_t node = 0;
    for (const char c : tokens_[i].content) {
      const std::uint64_t edge = node << 8 | static_cast<unsigned char>(c);
      node = edges_.get(edge);
      if (node == FlatMap::kAbsent) {
        node = ends_.size();
        edges_.set(edge, node);
        ends_.push_back(-1);
      }
    }
    ends_[node] = ends_[node] < 0 ? static_cast<std::int32_t>(i) : ends_[node];
    starts_[static_cast<unsigned char>(tokens_[i].content.front())] = true;
  }
}

bool TokenMatcher::has_special() const {
  return std::ranges::any_of(tokens_, [](const AddedToken& token) { return token.special; });
}

std::optional<TokenMatcher::Hit> TokenMatcher::longest_at(std::string_view text,
                                                          std::size_t at) const {
  std::optional<Hit> best;
  std::uint64_t node = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    node = edges_.get(node << 8 | static_cast<unsigned char>(text[i]));
    if (node == FlatMap::kAbsent) {
      break;
    }
    if (ends_[node] >= 0) {
      best = Hit{static_cast<std::size_t>(ends_[node]), i + 1};
    }
  }
  return best;
}

bool TokenMatcher::touches_word(std::string_view text, std::size_t begin, std::size_t end) const {
  const auto is_word = [&](std::size_t at) {
    return (table_->flags(decode_valid(text, at).value) & kWord) != 0;
  };
  return (begin > 0 && is_word(previous_start(text, begin))) || (end < text.size() && is_word(end));
}

// Start of the white space that ends at `end`.
std::size_t TokenMatcher::space_start(std::string_view text, std::size_t end) const {
  while (end > 0) {
    const std::size_t before = previous_start(text, end);
    if ((table_->flags(decode_valid(text, before).value) & kSpace) == 0) {
      break;
    }
    end = before;
  }
  return end;
}

std::size_t TokenMatcher::space_end(std::string_view text, std::size_t at) const {
  while (at < text.size()) {
    const CodePoint point = decode_valid(text, at);
    if ((table_->flags(point.value) & kSpace) == 0) {
      break;
    }
    at += point.bytes;
  }
  return at;
}

std::vector<Segment> TokenMatcher::split(const Piece& piece, const Options& options) const {
  const std::string_view text = piece.text;
  std::vector<Segment> out;
  std::size_t done = 0;  // everything before is in `out`
  const auto is_plain = [&](std::size_t at) {
    const std::size_t in_input = piece.origin != nullptr ? piece.origin[at].begin : piece.base + at;
    const auto after = std::ranges::upper_bound(
        options.plain_spans, in_input, std::ranges::less(), &PlainSpan::begin);
    return after != options.plain_spans.begin() && in_input < std::prev(after)->end;
  };
  for (std::size_t at = 0; at < text.size() && !tokens_.empty();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const std::optional<Hit> hit = longest_at(text, at);
    if (!hit) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[hit->token];
    const bool exempt = token.special && (!options.parse_special || is_plain(at));
    std::size_t begin = at;
    std::size_t end = hit->end;
    at = end;
    if (exempt || (token.single_word && touches_word(text, begin, end))) {
      continue;
    }
    // Only as far back as the last token reaches: it may have taken this white space already.
    begin = token.lstrip ? std::max(space_start(text, begin), done) : begin;
    end = token.rstrip ? space_end(text, end) : end;
    if (begin > done) {
      out.push_back({-1, done, begin});
    }
    out.push_back({token.id, begin, end});
    done = end;
  }
  if (done < text.size()) {
    out.push_back({-1, done, text.size()});
  }
  return out;
}

}  // namespace genesis::text
