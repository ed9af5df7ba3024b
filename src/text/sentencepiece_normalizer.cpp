#include "text/sentencepiece_normalizer.h"

#include "text/unicode.h"

#include <vector>

namespace genesis::text {

namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

}  // namespace

// The new text and its origins.
class SentencePieceNormalizer::Output {
 public:
  Output(const AlignedText& old, std::string_view space) : old_(old), space_(space) {
    text_.reserve(old.text.size() + old.text.size() / 2 + space.size());
  }

  // What the bytes [begin, end) of the old text become.
  void add(std::string_view with, std::size_t begin, std::size_t end) {
    const std::size_t before = text_.size();
    for (const char c : with) {
      if (c == ' ') {
        text_ += space_;
      } else {
        text_.push_back(c);
      }
    }
    if (old_.tracked) {
      const auto base = static_cast<std::uint32_t>(old_.base);
      const std::uint32_t from = begin < old_.origin.size()
                                     ? old_.origin[begin].begin
                                     : (old_.origin.empty() ? base : old_.origin.back().end);
      const std::uint32_t to = end > begin ? old_.origin[end - 1].end : from;
      origin_.insert(origin_.end(), text_.size() - before, Origin{from, to});
    }
  }

  void drop_spaces_at_end() {
    while (text_.ends_with(space_)) {
      text_.resize(text_.size() - space_.size());
    }
    origin_.resize(old_.tracked ? text_.size() : 0);
  }

  void move_to(AlignedText& text) {
    text.text = std::move(text_);
    text.origin = std::move(origin_);
  }

 private:
  const AlignedText& old_;
  std::string_view space_;
  std::string text_;
  std::vector<Origin> origin_;
};

SentencePieceNormalizer::Step SentencePieceNormalizer::step_at(std::string_view text,
                                                               std::size_t at) const {
  const std::string_view rest = text.substr(at);
  if (const auto end = kept_.longest_end(text, at)) {
    return {*end - at, text.substr(at, *end - at)};
  }
  if (map_) {
    if (const auto rule = map_->longest(rest)) {
      return {rule->bytes, rule->with};
    }
  }
  const std::size_t bytes = decode_valid(text, at).bytes;
  return {bytes, rest.substr(0, bytes)};
}

void SentencePieceNormalizer::apply(AlignedText& text) const {
  const AlignedText old = text;
  const std::string_view in = old.text;
  Output out(old, options_.escape_whitespaces ? kMark : std::string_view(" "));
  std::size_t at = 0;
  while (options_.remove_extra_whitespaces && at < in.size()) {
    const Step step = step_at(in, at);
    if (step.with != " ") {
      break;
    }
    at += step.bytes;
  }
  if (at >= in.size()) {
    out.move_to(text);
    return;
  }
  if (options_.add_dummy_prefix && !options_.space_is_suffix) {
    out.add(" ", at, at);
  }
  bool after_space = options_.remove_extra_whitespaces;
  while (at < in.size()) {
    const Step step = step_at(in, at);
    std::string_view with = step.with;
    while (after_space && with.starts_with(' ')) {
      with.remove_prefix(1);
    }
    if (!with.empty()) {
      out.add(with, at, std::min(at + step.bytes, in.size()));
      after_space = with.ends_with(' ');
    }
    at += step.bytes;
    after_space = after_space && options_.remove_extra_whitespaces;
  }
  if (options_.remove_extra_whitespaces) {
    out.drop_spaces_at_end();
  }
  if (options_.add_dummy_prefix && options_.space_is_suffix) {
    out.add(" ", in.size(), in.size());
  }
  out.move_to(text);
}

}  // namespace genesis::text
