// The Precompiled normalizer (text/normalizer_steps.h) and the grapheme clusters it works on.
#include "text/normalizer_steps.h"

#include <fmt/format.h>
#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace genesis::text {

namespace {

// Clusters of this many bytes and more are looked up character by character.
constexpr std::size_t kLongCluster = 6;

using Changes = std::vector<std::pair<char32_t, int>>;

std::size_t characters_in(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void replace(std::string_view old, std::string_view with, Changes& out) {
  const auto more = static_cast<std::ptrdiff_t>(characters_in(with)) -
                    static_cast<std::ptrdiff_t>(characters_in(old));
  for (std::size_t at = 0; at < with.size();) {
    const CodePoint point = decode_valid(with, at);
    out.emplace_back(point.value, 0);
    at += point.bytes;
  }
  for (std::ptrdiff_t i = 0; i < more; ++i) {
    out[out.size() - 1 - static_cast<std::size_t>(i)].second = 1;
  }
  if (more < 0 && !out.empty()) {
    out.back().second += static_cast<int>(more);
  }
}

}  // namespace

struct Precompiled::Clusters {
  std::unique_ptr<icu::BreakIterator> prototype;

  // The ends of the clusters of `text`.
  std::vector<std::size_t> ends(std::string_view text) const {
    std::vector<std::size_t> out;
    UErrorCode status = U_ZERO_ERROR;
    UText* view =
        utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status);
    const std::unique_ptr<icu::BreakIterator> walk(prototype->clone());
    if (U_SUCCESS(status) && walk) {
      walk->setText(view, status);
      walk->first();
      for (std::int32_t at = walk->next(); U_SUCCESS(status) && at != icu::BreakIterator::DONE;
           at = walk->next()) {
        out.push_back(static_cast<std::size_t>(at));
      }
    }
    utext_close(view);
    return out;
  }
};

Precompiled::Precompiled(Charsmap map, std::unique_ptr<Clusters> clusters)
    : map_(std::move(map)), clusters_(std::move(clusters)) {}

Precompiled::~Precompiled() = default;

Result<std::unique_ptr<const Normalizer>> Precompiled::make(Charsmap map) {
  UErrorCode status = U_ZERO_ERROR;
  auto clusters = std::make_unique<Clusters>();
  clusters->prototype.reset(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  if (U_FAILURE(status)) {
    return fail(ErrorCode::kInternal,
                fmt::format("ICU has no character boundaries: {}", u_errorName(status)));
  }
  return std::unique_ptr<const Normalizer>(new Precompiled(std::move(map), std::move(clusters)));
}

void Precompiled::apply(AlignedText& text) const {
  const std::string& old = text.text;
  Changes changes;
  changes.reserve(old.size());
  bool modified = false;
  std::size_t begin = 0;
  for (const std::size_t end : clusters_->ends(old)) {
    const std::string_view cluster = std::string_view(old).substr(begin, end - begin);
    begin = end;
    if (cluster.size() < kLongCluster) {
      if (const auto rule = map_.shortest(cluster)) {
        modified = true;
        replace(cluster, rule->with, changes);
        continue;
      }
    }
    for (std::size_t at = 0; at < cluster.size();) {
      const CodePoint point = decode_valid(cluster, at);
      const std::string_view character = cluster.substr(at, point.bytes);
      at += point.bytes;
      if (const auto rule = map_.shortest(character)) {
        modified = true;
        replace(character, rule->with, changes);
      } else {
        changes.emplace_back(point.value, 0);
      }
    }
  }
  if (!modified || begin != old.size()) {
    return;
  }
  Rewriter writer(text);
  for (const auto& [c, change] : changes) {
    writer.put(c, change);
  }
  writer.finish();
}

}  // namespace genesis::text
