#include "text/pipeline.h"

#include "text/utf8_stream.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace genesis::text {

namespace {

constexpr char32_t kByteLevelSpace = 0x120;

// Special ones first: of tokens that became equal the first one counts.
std::vector<AddedToken> tokens_to_match(const TokenizerParts& parts, bool normalized) {
  std::vector<AddedToken> special;
  std::vector<AddedToken> others;
  for (const AddedToken& token : parts.added_tokens) {
    if (token.normalized != normalized) {
      continue;
    }
    AddedToken out = token;
    if (normalized && parts.normalizer && !token.verbatim) {
      AlignedText content;
      content.text = token.content;
      parts.normalizer->apply(content);
      out.content = std::move(content.text);
    }
    if (!out.content.empty()) {  // else nothing of it is left to be found
      (token.special ? special : others).push_back(std::move(out));
    }
  }
  special.insert(special.end(), others.begin(), others.end());
  return special;
}

// Byte offsets of a text to code point offsets.
class CharacterOffsets {
 public:
  explicit CharacterOffsets(std::string_view text) : of_byte_(text.size()) {
    std::uint32_t characters = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      characters += (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 ? 1 : 0;
      of_byte_[i] = characters - 1;
    }
  }

  // Ranges that go beyond the text get what the package makes of them.
  TokenOffsets of(const Origin& bytes) const {
    const std::size_t size = of_byte_.size();
    if (bytes.begin >= size) {
      return {bytes.begin, bytes.end};
    }
    const std::size_t begin = of_byte_[bytes.begin];
    if (bytes.end < size) {
      return {begin, of_byte_[bytes.end]};
    }
    return {begin, (bytes.end - 1 < size ? of_byte_[bytes.end - 1] : begin + 1) + 1};
  }

 private:
  std::vector<std::uint32_t> of_byte_;
};

class Pipeline final : public Tokenizer {
 public:
  explicit Pipeline(TokenizerParts parts)
      : parts_(std::move(parts)),
        raw_tokens_(tokens_to_match(parts_, false), parts_.table),
        normalized_tokens_(tokens_to_match(parts_, true), parts_.table),
        plain_bytes_(parts_.decoder.is_bytes() && parts_.spells_bytes) {
    vocab_size_ = parts_.model->size();
    for (const AddedToken& token : parts_.added_tokens) {
      vocab_size_ = std::max(vocab_size_, token.id + 1);
      ids_.emplace(token.content, token.id);
      added_.emplace(token.id, Added{token.content, parts_.decoder.bytes_of(token.content)});
      if (token.special) {
        special_.resize(std::max(special_.size(), static_cast<std::size_t>(token.id) + 1));
        special_[static_cast<std::size_t>(token.id)] = true;
      }
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

  Encoding encode_with_offsets(std::string_view text, const EncodeOptions& options) const override {
    std::vector<PlainSpan> moved;
    const std::string valid = to_valid_utf8(text, options.plain_spans, moved);
    EncodeOptions with_moved = options;
    with_moved.plain_spans = moved;
    return encode_tracked(valid, with_moved);
  }

  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override {
    if (plain_bytes_) {
      std::string bytes;
      for (const std::int32_t id : ids) {
        if (!skip_special || !is_special(id)) {
          bytes += bytes_of(id);
        }
      }
      return is_valid_utf8(bytes) ? bytes : to_valid_utf8(bytes);
    }
    DecodeChain chain = parts_.decoder.start();
    std::string out;
    for (const std::int32_t id : ids) {
      push(id, skip_special, chain, out);
    }
    return out += chain.finish();
  }

  std::unique_ptr<DecodeStream> stream(bool skip_special) const override {
    if (plain_bytes_) {
      return Tokenizer::stream(skip_special);
    }
    return std::make_unique<ChainStream>(*this, skip_special);
  }

  std::string token_bytes(std::int32_t id) const override {
    if (plain_bytes_) {
      return std::string(bytes_of(id));
    }
    const auto found = added_.find(id);
    if (found != added_.end()) {
      return found->second.bytes;
    }
    return parts_.model->has(id) ? parts_.decoder.bytes_of(parts_.model->token(id)) : std::string();
  }

  bool is_special(std::int32_t id) const override {
    return id >= 0 && static_cast<std::size_t>(id) < special_.size() &&
           special_[static_cast<std::size_t>(id)];
  }

  std::int32_t vocab_size() const override { return vocab_size_; }

  std::optional<std::int32_t> token_id(std::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    return found != ids_.end() ? std::optional(found->second) : parts_.model->find(token);
  }

  std::optional<std::int32_t> bos_id() const override { return parts_.bos_id; }

  std::span<const std::int32_t> end_ids() const override { return parts_.end_ids; }

 private:
  struct Added {
    std::string content;
    std::string bytes;
  };

  class ChainStream final : public DecodeStream {
   public:
    ChainStream(const Pipeline& tokenizer, bool skip_special)
        : tokenizer_(tokenizer),
          skip_special_(skip_special),
          chain_(tokenizer.parts_.decoder.start()) {}

    std::string push(std::int32_t id) override {
      std::string out;
      tokenizer_.push(id, skip_special_, chain_, out);
      return out;
    }

    std::string flush() override { return chain_.finish(); }

   private:
    const Pipeline& tokenizer_;
    bool skip_special_;
    DecodeChain chain_;
  };

  // What happens with the words of a text.
  struct Sink {
    ModelScratch scratch;
    std::vector<std::int32_t> ids;
    bool tracked = false;
    std::vector<Origin> origins;        // of the ids, if tracked
    std::vector<TokenMargins> margins;  // of the ids, if tracked and wanted
    std::vector<TokenSpan> spans;
  };

  std::string_view bytes_of(std::int32_t id) const {
    const auto found = added_.find(id);
    return found != added_.end() ? std::string_view(found->second.bytes)
                                 : parts_.model->content(id);
  }

  void push(std::int32_t id, bool skip_special, DecodeChain& chain, std::string& out) const {
    if (skip_special && is_special(id)) {
      return;
    }
    const auto found = added_.find(id);
    if (found != added_.end()) {
      out += chain.push(found->second.content);
    } else if (parts_.model->has(id)) {
      out += chain.push(parts_.model->token(id));
    }
  }

  std::vector<std::int32_t> encode_valid(std::string_view text,
                                         const EncodeOptions& options) const {
    // Where special tokens are looked for in changed text, plain spans need its origins.
    const bool tracked =
        parts_.needs_origin ||
        (parts_.normalizer && !options.plain_spans.empty() && normalized_tokens_.has_special());
    std::vector<Origin> origins;
    if (tracked) {
      origins = origins_of(text);
    }
    Sink sink;
    encode_all({text, tracked ? origins.data() : nullptr, 0}, options, sink);
    return parts_.post_processor.apply(std::move(sink.ids), options.add_special_tokens);
  }

  Encoding encode_tracked(std::string_view text, const EncodeOptions& options) const {
    const std::vector<Origin> origins = origins_of(text);
    Sink sink;
    sink.tracked = true;
    encode_all({text, origins.data(), 0}, options, sink);
    Encoding out;
    out.ids = std::move(sink.ids);
    const CharacterOffsets characters(text);
    for (const Origin& origin : sink.origins) {
      out.offsets.push_back(characters.of(origin));
    }
    return parts_.post_processor.apply(
        std::move(out), std::move(sink.margins), options.add_special_tokens);
  }

  void encode_all(const Piece& text, const EncodeOptions& options, Sink& sink) const {
    const TokenMatcher::Options how{options.parse_special, options.plain_spans};
    for (const Segment& segment : raw_tokens_.split(text, how)) {
      const Piece part = text.slice(segment.begin, segment.end);
      if (segment.id >= 0) {
        add_token(segment.id, part, sink);
      } else if (parts_.normalizer) {
        AlignedText normalized = AlignedText::copy_of(part);
        parts_.normalizer->apply(normalized);
        encode_normalized(normalized.piece(), how, sink);
      } else {
        encode_normalized(part, how, sink);
      }
    }
  }

  void encode_normalized(const Piece& text, const TokenMatcher::Options& how, Sink& sink) const {
    for (const Segment& segment : normalized_tokens_.split(text, how)) {
      const Piece part = text.slice(segment.begin, segment.end);
      if (segment.id >= 0) {
        add_token(segment.id, part, sink);
      } else if (parts_.pre_tokenizer) {
        Pieces pieces;
        pieces.list.push_back(part);
        parts_.pre_tokenizer->split(pieces);
        for (const Piece& word : pieces.list) {
          encode_word(word, sink);
        }
      } else {
        encode_word(part, sink);
      }
    }
  }

  void add_token(std::int32_t id, const Piece& text, Sink& sink) const {
    sink.ids.push_back(id);
    if (sink.tracked) {
      sink.origins.push_back({text.origin[0].begin, text.origin[text.text.size() - 1].end});
      sink.margins.push_back(margins_of(text.text));
    }
  }

  void encode_word(const Piece& word, Sink& sink) const {
    if (!sink.tracked) {
      parts_.model->encode(word.text, sink.scratch, sink.ids);
      return;
    }
    sink.spans.clear();
    parts_.model->encode_spans(word.text, sink.scratch, sink.spans);
    for (const TokenSpan& span : sink.spans) {
      sink.ids.push_back(span.id);
      sink.origins.push_back(origin_of(word, span));
      sink.margins.push_back(
          span.literal ? margins_of(word.text.substr(span.begin, span.end - span.begin))
                       : (parts_.post_processor.trims() ? margins_of(parts_.model->token(span.id))
                                                        : TokenMargins{}));
    }
  }

  // A byte token of an affix, or a symbol that vanished, can move a span off the word.
  static Origin origin_of(const Piece& word, const TokenSpan& span) {
    if (span.begin == span.end) {
      const auto at = static_cast<std::uint32_t>(word.base + span.begin);
      return {at, at};
    }
    if (span.end > word.text.size()) {
      return {static_cast<std::uint32_t>(span.begin), static_cast<std::uint32_t>(span.end)};
    }
    return {word.origin[span.begin].begin, word.origin[span.end - 1].end};
  }

  TokenMargins margins_of(std::string_view text) const {
    const auto is_space = [&](std::size_t at) {
      const char32_t c = decode_valid(text, at).value;
      return c == kByteLevelSpace || (parts_.table->flags(c) & kSpace) != 0;
    };
    TokenMargins out;
    for (std::size_t at = 0; at < text.size() && is_space(at);) {
      at += decode_valid(text, at).bytes;
      ++out.leading;
    }
    for (std::size_t end = text.size(); end > 0 && is_space(previous_start(text, end));) {
      end = previous_start(text, end);
      ++out.trailing;
    }
    return out;
  }

  TokenizerParts parts_;
  TokenMatcher raw_tokens_;
  TokenMatcher normalized_tokens_;
  bool plain_bytes_;  // a token stands for its bytes, which the model keeps
  std::unordered_map<std::string, std::int32_t> ids_;  // of added tokens
  std::unordered_map<std::int32_t, Added> added_;
  std::vector<bool> special_;  // by id
  std::int32_t vocab_size_ = 0;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts) {
  return std::make_shared<Pipeline>(std::move(parts));
}

}  // namespace genesis::text
