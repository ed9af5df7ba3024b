#include "text/pre_tokenizer_steps.h"

#include "text/old_unicode.h"

#include <utility>

namespace genesis::text {

namespace {

// A pattern that ran into its limit this often in one text is not tried any more.
constexpr std::size_t kMaxFailures = 4;

}  // namespace

void Split::split(Pieces& pieces) const {
  std::vector<Piece> out;
  out.reserve(pieces.list.size() * 4);
  std::vector<Match> matches;
  const auto workspace = finder_.workspace();
  std::size_t failures = 0;
  for (const Piece& piece : pieces.list) {
    matches.clear();
    if (failures < kMaxFailures && !finder_.find_all(piece.text, workspace, matches)) {
      ++failures;
    }
    cut(piece, matches, {behavior_, invert_}, out);
  }
  pieces.list = std::move(out);
}

bool ClassSplit::matches(char32_t c) const {
  switch (what_) {
    case Class::kSpace:
      return (table_->flags(c) & kSpace) != 0;
    case Class::kNumeric:
      return (table_->flags(c) & kNumeric) != 0;
    case Class::kPunctuation:
      return is_punctuation(c);
  }
  return false;
}

void ClassSplit::split(Pieces& pieces) const {
  std::vector<Piece> out;
  out.reserve(pieces.list.size() * 2);
  std::vector<Match> found;
  for (const Piece& piece : pieces.list) {
    found.clear();
    for (std::size_t at = 0; at < piece.text.size();) {
      const CodePoint point = decode_valid(piece.text, at);
      if (matches(point.value)) {
        found.push_back({at, at + point.bytes});
      }
      at += point.bytes;
    }
    cut(piece, found, {behavior_, false}, out);
  }
  pieces.list = std::move(out);
}

void WordSplit::split(Pieces& pieces) const {
  std::vector<Piece> out;
  for (const Piece& piece : pieces.list) {
    const auto kind_at = [&](std::size_t at) {
      return table_->flags(decode_valid(piece.text, at).value) & (kWord | kSpace);
    };
    for (std::size_t at = 0; at < piece.text.size();) {
      const int kind = kind_at(at);
      std::size_t end = at;
      while (end < piece.text.size() && kind_at(end) == kind) {
        end += decode_valid(piece.text, end).bytes;
      }
      if ((kind & kSpace) == 0) {
        out.push_back(piece.slice(at, end));
      }
      at = end;
    }
  }
  pieces.list = std::move(out);
}

void FixedLength::split(Pieces& pieces) const {
  std::vector<Piece> out;
  for (const Piece& piece : pieces.list) {
    for (std::size_t at = 0; at < piece.text.size();) {
      std::size_t end = at;
      for (std::size_t i = 0; i < characters_ && end < piece.text.size(); ++i) {
        end += decode_valid(piece.text, end).bytes;
      }
      out.push_back(piece.slice(at, end));
      at = end;
    }
  }
  pieces.list = std::move(out);
}

// What comes before the first character with a script is dropped, as the package does.
void ScriptSplit::split(Pieces& pieces) const {
  std::vector<Piece> out;
  for (const Piece& piece : pieces.list) {
    std::optional<std::size_t> begin;
    std::int32_t last = kAnyScript;
    for (std::size_t at = 0; at < piece.text.size();) {
      const CodePoint point = decode_valid(piece.text, at);
      const std::int32_t script = script_of(point.value);
      if (script != kAnyScript && script != last) {
        if (begin) {
          out.push_back(piece.slice(*begin, at));
        }
        begin = at;
        last = script;
      }
      at += point.bytes;
    }
    if (begin) {
      out.push_back(piece.slice(*begin, piece.text.size()));
    }
  }
  pieces.list = std::move(out);
}

AlignedText Metaspace::mark_spaces(const Piece& piece) const {
  AlignedText out;
  out.base = piece.base;
  out.tracked = piece.origin != nullptr;
  out.text.reserve(piece.text.size() + replacement_.size() * 8);
  for (std::size_t at = 0; at < piece.text.size(); ++at) {
    const bool space = piece.text[at] == ' ';
    if (space) {
      out.text += replacement_;
    } else {
      out.text.push_back(piece.text[at]);
    }
    if (out.tracked) {
      out.origin.insert(out.origin.end(), space ? replacement_.size() : 1, piece.origin[at]);
    }
  }
  const bool wanted =
      prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && piece.base == 0);
  if (wanted && !out.text.starts_with(replacement_)) {
    out.prepend(replacement_);
  }
  return out;
}

void Metaspace::split_one(const Piece& piece, std::vector<Piece>& out) const {
  std::size_t begin = 0;
  std::size_t at = piece.text.find(replacement_);
  for (; at != std::string_view::npos; at = piece.text.find(replacement_, at + 1)) {
    if (at > begin) {
      out.push_back(piece.slice(begin, at));
    }
    begin = at;
  }
  out.push_back(piece.slice(begin, piece.text.size()));
}

void Metaspace::split(Pieces& pieces) const {
  std::vector<Piece> out;
  out.reserve(pieces.list.size() * 4);
  for (const Piece& piece : pieces.list) {
    const AlignedText& marked = pieces.made.emplace_back(mark_spaces(piece));
    if (splits_) {
      split_one(marked.piece(), out);
    } else {
      out.push_back(marked.piece());
    }
  }
  pieces.list = std::move(out);
}

void ByteLevel::split(Pieces& pieces) const {
  if (options_.add_prefix_space) {
    for (Piece& piece : pieces.list) {
      if (!piece.text.starts_with(' ')) {
        AlignedText& longer = pieces.made.emplace_back(AlignedText::copy_of(piece));
        longer.prepend(" ");
        piece = longer.piece();
      }
    }
  }
  if (words_) {
    std::vector<Piece> out;
    std::vector<Match> matches;
    for (const Piece& piece : pieces.list) {
      matches.clear();
      words_->find_all(piece.text, matches);
      for (const Match& match : matches) {
        out.push_back(piece.slice(match.begin, match.end));
      }
    }
    pieces.list = std::move(out);
  }
  if (options_.to_text) {
    for (Piece& piece : pieces.list) {
      AlignedText& mapped = pieces.made.emplace_back(AlignedText::copy_of(piece));
      Rewriter writer(mapped);
      for (const char c : piece.text) {
        const auto byte = static_cast<unsigned char>(c);
        writer.put(alphabet_.character(byte), (byte & 0xC0) == 0x80 ? 1 : 0);
      }
      writer.finish();
      piece = mapped.piece();
    }
  }
}

void PreTokenizerSequence::split(Pieces& pieces) const {
  for (const auto& step : steps_) {
    step->split(pieces);
  }
}

}  // namespace genesis::text
