// NFC, NFD, NFKC and NFKD at Unicode 9, the version of the crate inside `tokenizers`
// (unicode-normalization-alignments 0.1.12): marks added later are left where they stand.
#include "text/normalizer.h"
#include "text/unicode.h"

#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace genesis::text {

namespace {

// ICU counts in 32-bit integers.
constexpr std::size_t kMaxText = 1U << 30;

// A character of a decomposed text; `change` as Rewriter::put takes it.
struct Point {
  char32_t value;
  std::uint8_t combining_class;
  int change;
  std::size_t place;  // before marks are put in order
};

class Form final : public Normalizer {
 public:
  Form(const icu::Normalizer2& form,
       const icu::Normalizer2& compose,
       bool composes,
       std::unique_ptr<icu::UnicodeSet> assigned)
      : form_(form),
        compose_(compose),
        composes_(composes),
        assigned_(std::move(assigned)),
        filtered_(form, *assigned_) {}

  void apply(AlignedText& text) const override {
    if (std::ranges::all_of(text.text, [](char c) { return c >= 0; }) ||
        text.text.size() > kMaxText) {
      return;
    }
    UErrorCode status = U_ZERO_ERROR;
    const icu::StringPiece piece(text.text.data(), static_cast<std::int32_t>(text.text.size()));
    if (filtered_.isNormalizedUTF8(piece, status) != 0 && U_SUCCESS(status)) {
      return;
    }
    if (text.tracked) {
      rewrite(text);
      return;
    }
    std::string out;
    out.reserve(text.text.size());
    icu::StringByteSink<std::string> sink(&out);
    filtered_.normalizeUTF8(0, piece, sink, nullptr, status);
    if (U_SUCCESS(status)) {
      text.text = std::move(out);
    }
  }

 private:
  bool known(char32_t c) const { return assigned_->contains(static_cast<UChar32>(c)) != 0; }

  std::uint8_t class_of(char32_t c) const {
    return known(c) ? compose_.getCombiningClass(static_cast<UChar32>(c)) : std::uint8_t{0};
  }

  std::vector<Point> decompose(std::string_view text) const {
    std::vector<Point> out;
    out.reserve(text.size());
    icu::UnicodeString parts;
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint point = decode_valid(text, at);
      at += point.bytes;
      const auto c = static_cast<UChar32>(point.value);
      if (point.value < 0x80 || !known(point.value) || form_.getDecomposition(c, parts) == 0) {
        out.push_back({point.value, class_of(point.value), 0, out.size()});
        continue;
      }
      for (std::int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) {
        const auto part = static_cast<char32_t>(parts.char32At(i));
        out.push_back({part, class_of(part), i == 0 ? 0 : 1, out.size()});
      }
    }
    for (std::size_t begin = 0; begin < out.size();) {
      std::size_t end = begin + 1;
      while (end < out.size() && out[end].combining_class != 0) {
        ++end;
      }
      std::sort(out.begin() + static_cast<std::ptrdiff_t>(begin),
                out.begin() + static_cast<std::ptrdiff_t>(end),
                [](const Point& a, const Point& b) {
                  return a.combining_class != b.combining_class
                             ? a.combining_class < b.combining_class
                             : a.place < b.place;
                });
      begin = end;
    }
    return out;
  }

  std::optional<char32_t> composed(char32_t a, char32_t b) const {
    if (!known(a) || !known(b)) {
      return std::nullopt;
    }
    const UChar32 pair = compose_.composePair(static_cast<UChar32>(a), static_cast<UChar32>(b));
    return pair < 0 ? std::nullopt : std::optional(static_cast<char32_t>(pair));
  }

  // Canonical composition (Unicode standard annex 15), with the changes the crate reports.
  void rewrite(AlignedText& text) const {
    const std::vector<Point> points = decompose(text.text);
    Rewriter writer(text);
    if (!composes_) {
      for (const Point& point : points) {
        writer.put(point.value, point.change);
      }
      writer.finish();
      return;
    }
    std::optional<Point> starter;
    std::vector<Point> marks;
    const auto flush = [&] {
      if (starter) {
        writer.put(starter->value, starter->change);
      }
      for (const Point& mark : marks) {
        writer.put(mark.value, mark.change);
      }
      marks.clear();
    };
    for (const Point& point : points) {
      if (!starter && point.combining_class != 0) {
        writer.put(point.value, point.change);
        continue;
      }
      const bool blocked = !marks.empty() && marks.back().combining_class >= point.combining_class;
      const std::optional<char32_t> pair =
          starter && !blocked ? composed(starter->value, point.value) : std::nullopt;
      if (pair) {
        starter->value = *pair;
        starter->change += point.change - 1;
      } else if (point.combining_class == 0) {
        flush();
        starter = point;
      } else {
        marks.push_back(point);
      }
    }
    flush();
    writer.finish();
  }

  const icu::Normalizer2& form_;
  const icu::Normalizer2& compose_;
  bool composes_;
  std::unique_ptr<icu::UnicodeSet> assigned_;
  icu::FilteredNormalizer2 filtered_;
};

}  // namespace

Result<std::unique_ptr<const Normalizer>> make_unicode_form(UnicodeForm form) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  const icu::Normalizer2* own = nullptr;
  switch (form) {
    case UnicodeForm::kNfc:
      own = nfc;
      break;
    case UnicodeForm::kNfd:
      own = icu::Normalizer2::getNFDInstance(status);
      break;
    case UnicodeForm::kNfkc:
      own = icu::Normalizer2::getNFKCInstance(status);
      break;
    case UnicodeForm::kNfkd:
      own = icu::Normalizer2::getNFKDInstance(status);
      break;
  }
  auto assigned = std::make_unique<icu::UnicodeSet>(u"[:age=9.0:]", status);
  if (U_FAILURE(status) || nfc == nullptr || own == nullptr) {
    return fail(ErrorCode::kInternal,
                fmt::format("ICU has no normalization data: {}", u_errorName(status)));
  }
  assigned->freeze();
  const bool composes = form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc;
  return std::make_unique<Form>(*own, *nfc, composes, std::move(assigned));
}

}  // namespace genesis::text
