#include "text/pipeline.h"

#include "text/byte_level.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace genesis::text {

namespace {

// The part of `spans` inside [begin, end), relative to begin.
std::vector<PlainSpan> spans_within(std::span<const PlainSpan> spans,
                                    std::size_t begin,
                                    std::size_t end) {
  std::vector<PlainSpan> out;
  for (const PlainSpan& span : spans) {
    const std::size_t from = std::max(span.begin, begin);
    const std::size_t to = std::min(span.end, end);
    if (from < to) {
      out.push_back({from - begin, to - begin});
    }
  }
  return out;
}

std::vector<AddedToken> tokens_to_match(const TokenizerParts& parts, bool normalized) {
  std::vector<AddedToken> out;
  for (const AddedToken& token : parts.added_tokens) {
    if (token.normalized != normalized) {
      continue;
    }
    out.push_back(token);
    if (normalized && parts.normalizer) {
      out.back().content = parts.normalizer->apply(token.content, {}).text;
    }
  }
  return out;
}

class Pipeline final : public Tokenizer {
 public:
  explicit Pipeline(TokenizerParts parts)
      : parts_(std::move(parts)),
        raw_tokens_(tokens_to_match(parts_, false), parts_.table),
        normalized_tokens_(tokens_to_match(parts_, true), parts_.table) {
    vocab_size_ = parts_.model.size();
    const ByteAlphabet alphabet;
    for (const AddedToken& token : parts_.added_tokens) {
      vocab_size_ = std::max(vocab_size_, token.id + 1);
      ids_.emplace(token.content, token.id);
      added_.emplace(
          token.id, Added{alphabet.to_bytes(token.content).value_or(token.content), token.special});
    }
  }

  std::vector<std::int32_t> encode(std::string_view text,
                                   const EncodeOptions& options) const override {
    if (!is_valid_utf8(text)) {
      std::vector<PlainSpan> moved;
      const std::string valid = to_valid_utf8(text, options.plain_spans, moved);
      EncodeOptions with_moved = options;
      with_moved.plain_spans = moved;
      return encode_valid(valid, with_moved);
    }
    return encode_valid(text, options);
  }

  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override {
    std::string bytes;
    for (const std::int32_t id : ids) {
      if (!skip_special || !is_special(id)) {
        bytes += bytes_of(id);
      }
    }
    return is_valid_utf8(bytes) ? bytes : to_valid_utf8(bytes);
  }

  std::string token_bytes(std::int32_t id) const override { return std::string(bytes_of(id)); }

  bool is_special(std::int32_t id) const override {
    const auto found = added_.find(id);
    return found != added_.end() && found->second.special;
  }

  std::int32_t vocab_size() const override { return vocab_size_; }

  std::optional<std::int32_t> token_id(std::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    return found != ids_.end() ? std::optional(found->second) : parts_.model.find(token);
  }

  std::optional<std::int32_t> bos_id() const override { return parts_.bos_id; }

  std::span<const std::int32_t> end_ids() const override { return parts_.end_ids; }

 private:
  struct Added {
    std::string bytes;
    bool special;
  };

  std::string_view bytes_of(std::int32_t id) const {
    const auto found = added_.find(id);
    return found != added_.end() ? std::string_view(found->second.bytes) : parts_.model.bytes(id);
  }

  std::vector<std::int32_t> encode_valid(std::string_view text,
                                         const EncodeOptions& options) const {
    std::vector<std::int32_t> ids;
    BpeModel::Scratch scratch;
    const TokenMatcher::Options how{options.parse_special, options.plain_spans};
    for (const Segment& segment : raw_tokens_.split(text, how)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
        continue;
      }
      const std::string_view part = text.substr(segment.begin, segment.end - segment.begin);
      const std::vector<PlainSpan> spans =
          normalized_tokens_.empty()
              ? std::vector<PlainSpan>()
              : spans_within(options.plain_spans, segment.begin, segment.end);
      if (parts_.normalizer) {
        const Normalized normalized = parts_.normalizer->apply(part, spans);
        encode_normalized(normalized.text, {options.parse_special, normalized.spans}, scratch, ids);
      } else {
        encode_normalized(part, {options.parse_special, spans}, scratch, ids);
      }
    }
    return parts_.post_processor.apply(std::move(ids), options.add_special_tokens);
  }

  void encode_normalized(std::string_view text,
                         const TokenMatcher::Options& how,
                         BpeModel::Scratch& scratch,
                         std::vector<std::int32_t>& ids) const {
    for (const Segment& segment : normalized_tokens_.split(text, how)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
        continue;
      }
      Pieces pieces;
      pieces.list.push_back(text.substr(segment.begin, segment.end - segment.begin));
      parts_.pre_tokenizer->split(pieces);
      for (const std::string_view word : pieces.list) {
        parts_.model.encode_word(word, scratch, ids);
      }
    }
  }

  TokenizerParts parts_;
  TokenMatcher raw_tokens_;
  TokenMatcher normalized_tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;  // of added tokens
  std::unordered_map<std::int32_t, Added> added_;
  std::int32_t vocab_size_ = 0;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts) {
  return std::make_shared<Pipeline>(std::move(parts));
}

}  // namespace genesis::text
