// Hand-written equals of the split patterns most byte-level models use, several times faster than a
// regular expression. The unit test holds them against Regex on random text.
#pragma once

#include "text/regex.h"
#include "text/unicode.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace genesis::text {

// What ByteLevel splits with when use_regex is on (github.com/openai/gpt-2, encoder.py).
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// GPT-4o, GPT-OSS, Llama 4.
inline constexpr std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Mistral Nemo.
inline constexpr std::string_view kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// The last of three steps of DeepSeek V3.
inline constexpr std::string_view kDeepseekPattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+"
    R"(|\s+(?!\S)|\s+)";

// Immutable; safe from any thread.
class GptSplit {
 public:
  // nullopt if the pattern is none of those above.
  static std::optional<GptSplit> for_pattern(std::string_view pattern,
                                             std::shared_ptr<const CharTable> table);

  // Appends the matches; together they cover all of `text` (valid UTF-8).
  void find_all(std::string_view text, std::vector<Match>& out) const;

 private:
  enum class Family { kGpt2, kCl100k };

  GptSplit(Family family, std::size_t most_digits, std::shared_ptr<const CharTable> table)
      : family_(family), most_digits_(most_digits), table_(std::move(table)) {}

  std::size_t gpt2_end(std::string_view text, std::size_t at) const;
  std::size_t cl100k_end(std::string_view text, std::size_t at) const;
  std::size_t white_space_end(std::string_view text, std::size_t at) const;
  std::size_t run_end(std::string_view text, std::size_t at, std::uint8_t kind) const;

  Family family_;
  std::size_t most_digits_;
  std::shared_ptr<const CharTable> table_;
};

}  // namespace genesis::text
