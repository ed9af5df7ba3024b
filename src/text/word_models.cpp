#include "text/word_models.h"

#include "text/unicode.h"

#include <algorithm>

namespace genesis::text {

void WordModel::encode(std::string_view word,
                       ModelScratch& scratch,
                       std::vector<std::int32_t>& out) const {
  std::vector<TokenSpan> spans;
  encode_spans(word, scratch, spans);
  for (const TokenSpan& span : spans) {
    out.push_back(span.id);
  }
}

void WordLevelModel::encode_spans(std::string_view word,
                                  ModelScratch&,
                                  std::vector<TokenSpan>& out) const {
  const std::int32_t id = vocabulary_.find_content(word);
  if (id >= 0) {
    out.push_back({id, 0, word.size()});
  } else {
    add_unknown(word, out);
  }
}

WordPieceModel::WordPieceModel(Vocabulary vocabulary, Options options)
    : WordModel(std::move(vocabulary), options.unknown_token), options_(std::move(options)) {
  for (std::int32_t id = 0; id < size(); ++id) {
    longest_ = std::max(longest_, vocabulary_.content(id).size());
  }
}

void WordPieceModel::encode_spans(std::string_view word,
                                  ModelScratch&,
                                  std::vector<TokenSpan>& out) const {
  const auto characters = static_cast<std::size_t>(std::ranges::count_if(
      word, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  if (characters > options_.max_characters) {
    add_unknown(word, out);
    return;
  }
  const std::size_t before = out.size();
  std::string piece;
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = std::min(word.size(), begin + longest_);
    while (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) {
      --end;
    }
    std::int32_t id = -1;
    while (end > begin) {
      piece.assign(begin > 0 ? options_.continuing_prefix : std::string());
      piece.append(word.substr(begin, end - begin));
      id = vocabulary_.find_content(piece);
      if (id >= 0) {
        break;
      }
      end = previous_start(word, end);
    }
    if (id < 0) {
      out.resize(before);
      add_unknown(word, out);
      return;
    }
    out.push_back({id, begin, end});
    begin = end;
  }
}

}  // namespace genesis::text
