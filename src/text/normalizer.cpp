#include "text/normalizer.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

using Owned = std::unique_ptr<const Normalizer>;

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 16;
// ICU counts in 32-bit integers.
constexpr std::size_t kMaxText = 1U << 30;

std::unexpected<Error> unsupported(std::string what) {
  return fail_param("normalizer", std::move(what), ErrorCode::kUnsupported);
}

// NFC at Unicode 9, the version of the crate inside `tokenizers` (unicode-normalization-alignments
// 0.1.12): marks added later are left where they stand.
class Nfc final : public Normalizer {
 public:
  static Result<Owned> make() {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
    auto assigned = std::make_unique<icu::UnicodeSet>(u"[:age=9.0:]", status);
    if (U_FAILURE(status) || nfc == nullptr) {
      return fail(ErrorCode::kInternal,
                  fmt::format("ICU has no NFC data: {}", u_errorName(status)));
    }
    assigned->freeze();
    return std::unique_ptr<const Normalizer>(new Nfc(*nfc, std::move(assigned)));
  }

  Normalized apply(std::string_view text, std::span<const PlainSpan> spans) const override {
    Normalized out{std::string(text), {spans.begin(), spans.end()}};
    if (text.size() > kMaxText || std::ranges::all_of(text, [](char c) { return c >= 0; })) {
      return out;
    }
    const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
    UErrorCode status = U_ZERO_ERROR;
    icu::Edits edits;
    std::string normalized;
    normalized.reserve(text.size());
    icu::StringByteSink<std::string> sink(&normalized);
    filtered_.normalizeUTF8(0, piece, sink, &edits, status);
    if (U_FAILURE(status)) {
      return out;
    }
    out.text = std::move(normalized);
    for (PlainSpan& span : out.spans) {
      span.begin = moved(edits, span.begin);
      span.end = moved(edits, span.end);
    }
    return out;
  }

 private:
  Nfc(const icu::Normalizer2& nfc, std::unique_ptr<icu::UnicodeSet> assigned)
      : assigned_(std::move(assigned)), filtered_(nfc, *assigned_) {}

  static std::size_t moved(const icu::Edits& edits, std::size_t at) {
    UErrorCode status = U_ZERO_ERROR;
    icu::Edits::Iterator walk = edits.getFineIterator();
    const std::int32_t to =
        walk.destinationIndexFromSourceIndex(static_cast<std::int32_t>(at), status);
    return U_FAILURE(status) ? at : static_cast<std::size_t>(to);
  }

  std::unique_ptr<icu::UnicodeSet> assigned_;
  icu::FilteredNormalizer2 filtered_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<Owned> steps) : steps_(std::move(steps)) {}

  Normalized apply(std::string_view text, std::span<const PlainSpan> spans) const override {
    Normalized out{std::string(text), {spans.begin(), spans.end()}};
    for (const Owned& step : steps_) {
      out = step->apply(out.text, out.spans);
    }
    return out;
  }

 private:
  std::vector<Owned> steps_;
};

Result<void> add_steps(const boost::json::value& json,
                       std::size_t depth,
                       std::vector<Owned>& steps) {
  if (!json.is_object() || depth > kMaxDepth || steps.size() == kMaxSteps) {
    return unsupported("a normalizer must be an object, and a chain of them short and flat");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(const auto type, get_string(object, "type", "normalizer."));
  if (type == "NFC") {
    GENESIS_TRY(auto nfc, make_nfc());
    steps.push_back(std::move(nfc));
    return {};
  }
  const boost::json::value* inner = object.if_contains("normalizers");
  if (type == "Sequence" && inner != nullptr && inner->is_array()) {
    for (const boost::json::value& step : inner->get_array()) {
      GENESIS_TRY_VOID(add_steps(step, depth + 1, steps));
    }
    return {};
  }
  return unsupported(fmt::format("normalizer '{}' is not supported", type.value_or("null")));
}

}  // namespace

Result<Owned> parse_normalizer(const boost::json::value& json) {
  if (json.is_null()) {
    return nullptr;
  }
  std::vector<Owned> steps;
  GENESIS_TRY_VOID(add_steps(json, 0, steps));
  if (steps.empty()) {
    return nullptr;
  }
  return std::make_unique<Sequence>(std::move(steps));
}

Result<Owned> make_nfc() {
  return Nfc::make();
}

}  // namespace genesis::text
