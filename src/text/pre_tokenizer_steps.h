// The single pre-tokenizers that parse_pre_tokenizer() puts together.
#pragma once

#include "text/byte_level.h"
#include "text/finder.h"
#include "text/pre_tokenizer.h"
#include "text/split_behavior.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text {

class Split final : public PreTokenizer {
 public:
  Split(Finder finder, SplitBehavior behavior, bool invert)
      : finder_(std::move(finder)), behavior_(behavior), invert_(invert) {}

  void split(Pieces& pieces) const override;

 private:
  Finder finder_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts at the characters of a class. What becomes of them says the behaviour.
class ClassSplit final : public PreTokenizer {
 public:
  enum class Class : std::uint8_t { kSpace, kNumeric, kPunctuation };

  ClassSplit(Class what, SplitBehavior behavior, std::shared_ptr<const CharTable> table)
      : what_(what), behavior_(behavior), table_(std::move(table)) {}

  void split(Pieces& pieces) const override;

 private:
  bool matches(char32_t c) const;

  Class what_;
  SplitBehavior behavior_;
  std::shared_ptr<const CharTable> table_;
};

// Whitespace: words and runs of punctuation, `\w+|[^\w\s]+`.
class WordSplit final : public PreTokenizer {
 public:
  explicit WordSplit(std::shared_ptr<const CharTable> table) : table_(std::move(table)) {}

  void split(Pieces& pieces) const override;

 private:
  std::shared_ptr<const CharTable> table_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(std::size_t characters) : characters_(characters) {}

  void split(Pieces& pieces) const override;

 private:
  std::size_t characters_;
};

class ScriptSplit final : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override;
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend : std::uint8_t { kFirst, kNever, kAlways };

  Metaspace(std::string replacement, Prepend prepend, bool splits)
      : replacement_(std::move(replacement)), prepend_(prepend), splits_(splits) {}

  void split(Pieces& pieces) const override;

 private:
  AlignedText mark_spaces(const Piece& piece) const;
  void split_one(const Piece& piece, std::vector<Piece>& out) const;

  std::string replacement_;  // one character
  Prepend prepend_;
  bool splits_;
};

class ByteLevel final : public PreTokenizer {
 public:
  struct Options {
    bool add_prefix_space = false;
    bool to_text = false;  // map bytes to printable characters
  };

  ByteLevel(Options options, std::optional<GptSplit> words)
      : options_(options), words_(std::move(words)) {}

  void split(Pieces& pieces) const override;

 private:
  Options options_;
  std::optional<GptSplit> words_;
  ByteAlphabet alphabet_;
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<const PreTokenizer>> steps)
      : steps_(std::move(steps)) {}

  void split(Pieces& pieces) const override;

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

}  // namespace genesis::text
