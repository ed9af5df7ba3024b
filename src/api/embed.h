// The vocabulary of embedding and scoring: texts in, numbers out. Such a call travels as a
// ChatRequest whose input holds an EmbedInput, and its answer is the only delta of a ChatSink:
// routing, budgets, fallback and booking are the same code as for chat (decision 008).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace genesis {

enum class EmbedTask : std::uint8_t {
  kEmbed,       // a vector a text
  kRerank,      // a score a text, for `query`
  kPredict,     // labels with scores a text
  kSimilarity,  // a score a text, against `query`
};

struct EmbedInput {
  EmbedTask task = EmbedTask::kEmbed;
  std::vector<std::string> texts;                      // or:
  std::vector<std::vector<std::int32_t>> token_lists;  // texts given as token ids
  std::vector<std::string> pairs;  // kPredict: the second text of each pair, or empty
  std::string query;               // kRerank, kSimilarity
  std::optional<int> dimensions;   // a shorter vector, of models that allow it
  bool normalize = true;           // unit length; TEI only
  bool truncate = false;           // cut what is too long instead of refusing it; TEI only
  bool raw_scores = false;         // logits instead of probabilities; TEI only
  std::string prompt_name;         // TEI only

  std::size_t size() const { return texts.empty() ? token_lists.size() : texts.size(); }
};

// A class and how likely it is.
struct LabelScore {
  std::string label;
  float score = 0;
};

// One entry for each text, in the order asked.
struct EmbedAnswer {
  std::vector<std::vector<float>> vectors;      // kEmbed
  std::vector<float> scores;                    // kRerank, kSimilarity
  std::vector<std::vector<LabelScore>> labels;  // kPredict
};

}  // namespace genesis
