// Text on its way to the model that can remember, byte by byte, which part of the input it came
// from. Offsets and plain spans need that memory; an ordinary encode does without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// A half-open byte range of the input. 32 bits: texts of 4 GiB and more are not tracked rightly.
struct Origin {
  std::uint32_t begin;
  std::uint32_t end;
};

// A view of text with its memory. `origin` has an entry for every byte, or is null: not tracked.
struct Piece {
  std::string_view text;
  const Origin* origin = nullptr;
  std::size_t base = 0;  // where in the input it begins

  Piece slice(std::size_t begin, std::size_t end) const;
};

struct AlignedText {
  std::string text;
  std::vector<Origin> origin;  // as long as text when tracked
  std::size_t base = 0;        // where in the input it begins
  bool tracked = false;

  static AlignedText copy_of(const Piece& piece);

  Piece piece() const { return {text, tracked ? origin.data() : nullptr, base}; }

  // Puts `what` before the text; it counts as part of the first character. Not for empty text.
  void prepend(std::string_view what);
};

// The memory of text that nothing has changed yet.
std::vector<Origin> origins_of(std::string_view text);

// Writes a new version of a text, character by character. What a `change` means is what
// NormalizedString::transform of the `tokenizers` package makes of it, so that offsets agree.
class Rewriter {
 public:
  // `skipped` characters at the front of the old text go without replacement.
  explicit Rewriter(AlignedText& text, std::size_t skipped = 0);

  // change 0: takes the place of the next old character; below 0: of that and so many more; above
  // 0: is added, as part of the old character before it.
  void put(char32_t c, int change);

  // The text becomes what was put.
  void finish();

 private:
  std::size_t character_at(std::size_t at) const;

  AlignedText& old_;
  std::string text_;
  std::vector<Origin> origin_;
  std::size_t at_ = 0;  // in the old text
};

}  // namespace genesis::text
