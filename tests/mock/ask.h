// What the mock upstream was asked, in any of the dialects it speaks.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::mock {

enum class Wire : std::uint8_t {
  kChat,
  kCompletion,
  kMessages,    // Anthropic
  kGenerate,    // TGI
  kEmbeddings,  // OpenAI
  kEmbed,       // TEI, as the next three
  kRerank,
  kPredict,
  kSimilarity,
};

// True for the dialects whose answer is numbers.
constexpr bool is_embed(Wire wire) {
  return wire >= Wire::kEmbeddings;
}

std::string_view wire_name(Wire wire);

// The parts of a request that decide the answer.
struct Ask {
  Wire wire = Wire::kChat;
  std::string model;
  bool stream = false;
  bool include_usage = false;
  bool details = false;  // TGI
  bool base64 = false;   // kEmbeddings
  std::int64_t prompt_tokens = 0;
  std::int64_t max_tokens = -1;  // -1 = not given
  std::string last_role;
  std::string tool;                // the first tool's name
  std::vector<std::string> texts;  // is_embed()
};

// Where `path` belongs to; false for a path of none.
bool find_wire(std::string_view path, Ask& ask);

// `ask.wire` is set. Counting is simple on purpose, so that a test can do it by hand: one token per
// blank-separated word of all contents, at least one.
Result<void> read_ask(std::string_view path, std::string_view body, Ask& ask);

std::int64_t count_words(std::string_view text);

}  // namespace genesis::mock
