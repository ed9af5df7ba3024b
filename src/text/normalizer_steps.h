// The single normalizers that parse_normalizer() puts together.
#pragma once

#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/finder.h"
#include "text/normalizer.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::text {

// Longest text a step may put in the place of a match.
inline constexpr std::size_t kMaxReplacement = 256;

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string what) : what_(std::move(what)) {}

  void apply(AlignedText& text) const override;

 private:
  std::string what_;
};

class Replace final : public Normalizer {
 public:
  Replace(Finder finder, std::string with) : finder_(std::move(finder)), with_(std::move(with)) {}

  void apply(AlignedText& text) const override;

 private:
  Finder finder_;
  std::string with_;
};

// White space at the ends.
class Strip final : public Normalizer {
 public:
  struct Ends {
    bool left;
    bool right;
  };

  Strip(Ends ends, std::shared_ptr<const CharTable> table)
      : ends_(ends), table_(std::move(table)) {}

  void apply(AlignedText& text) const override;

 private:
  Ends ends_;
  std::shared_ptr<const CharTable> table_;
};

class StripMarks final : public Normalizer {
 public:
  enum class Which : std::uint8_t { kCombining, kNonspacing };

  explicit StripMarks(Which which) : which_(which) {}

  void apply(AlignedText& text) const override;

 private:
  Which which_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// sentencepiece's NMT rules: control characters go, odd spaces become spaces.
class Nmt final : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// Bytes as characters of the byte-level alphabet.
class BytesToText final : public Normalizer {
 public:
  void apply(AlignedText& text) const override;

 private:
  ByteAlphabet alphabet_;
};

// Bert's clean_text: control characters go, white space becomes spaces.
class BertClean final : public Normalizer {
 public:
  explicit BertClean(std::shared_ptr<const CharTable> table) : table_(std::move(table)) {}

  void apply(AlignedText& text) const override;

 private:
  std::shared_ptr<const CharTable> table_;
};

// Bert's handle_chinese_chars: spaces around every ideograph.
class SpaceIdeographs final : public Normalizer {
 public:
  void apply(AlignedText& text) const override;
};

// A charsmap as `tokenizers` applies it: to whole grapheme clusters shorter than six bytes, to
// single characters of longer ones, and by the shortest rule.
class Precompiled final : public Normalizer {
 public:
  static Result<std::unique_ptr<const Normalizer>> make(Charsmap map);

  ~Precompiled() override;
  Precompiled(const Precompiled&) = delete;
  Precompiled& operator=(const Precompiled&) = delete;

  void apply(AlignedText& text) const override;

 private:
  struct Clusters;

  Precompiled(Charsmap map, std::unique_ptr<Clusters> clusters);

  Charsmap map_;
  std::unique_ptr<Clusters> clusters_;
};

// nullopt if it is none. Padding may be missing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace genesis::text
