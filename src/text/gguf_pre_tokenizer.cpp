#include "text/gguf_pre_tokenizer.h"

#include "text/pre_tokenizer_steps.h"

#include <fmt/format.h>

#include <array>
#include <span>
#include <utility>

namespace genesis::text {

namespace {

using Patterns = std::span<const std::string_view>;

constexpr std::string_view kNumber = R"(\p{N})";
constexpr std::string_view kNumber3 = R"(\p{N}{1,3})";
constexpr std::string_view kCjk = R"([一-龥ࠀ-一가-퟿]+)";
constexpr std::string_view kHanAndKana = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr std::string_view kLineBreak = "[\r\n]";
// Letters with case, Unicode 11 without Georgian: from deepseek-llm's tokenizer.json.
constexpr std::string_view kCasedLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ)"
    R"(Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝ)"
    R"(ℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀)"
    R"(-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
// Qwen 3.5: as Qwen 2, with marks among the letters.
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array kGpt2 = {kGpt2Pattern};
constexpr std::array kLlama3 = {kLlama3Pattern};
constexpr std::array kQwen2 = {kQwen2Pattern};
constexpr std::array kQwen35Chain = {kQwen35};
constexpr std::array kO200k = {kO200kPattern};
constexpr std::array kTekken = {kTekkenPattern};
constexpr std::array kDeepseekV3 = {kNumber3, kHanAndKana, kDeepseekPattern};
constexpr std::array<std::string_view, 5> kDeepseekCoder = {
    kLineBreak, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kCjk, kNumber};
constexpr std::array<std::string_view, 6> kDeepseekLlm = {
    kLineBreak, kCasedLetters, R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", kCjk, R"(\p{N}+)"};
constexpr std::array<std::string_view, 3> kFalcon = {
    R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"};
constexpr std::array<std::string_view, 4> kDefault = {
    R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"};

struct Row {
  std::string_view name;
  Patterns patterns;
  bool ignore_merges = false;
  bool nfc = false;
  bool digits = false;  // single digits are cut out first
};

// Names, and which of them ignore merges: llama.cpp, llama_vocab::impl::load and llm_tokenizer_bpe
// in src/llama-vocab.cpp. NFC: tokenizer.json of the models.
constexpr Row kRows[] = {
    {"default", kDefault},
    {"gpt-2", kGpt2},
    {"phi-2", kGpt2},
    {"olmo", kGpt2, false, true},
    {"mpt", kGpt2, false, true},
    {"jais", kGpt2},
    {"smollm", kGpt2, false, false, true},
    {"starcoder", kGpt2, false, false, true},
    {"refact", kGpt2, false, false, true},
    {"command-r", kGpt2, false, true, true},
    {"codeshell", kGpt2, false, false, true},
    {"exaone", kGpt2, false, false, true},
    {"llama3", kLlama3, true},
    {"llama-v3", kLlama3, true},
    {"llama-bpe", kLlama3, true},
    {"falcon3", kLlama3, true},
    {"falcon-h1", kLlama3, true},
    {"pixtral", kLlama3, true},
    {"dbrx", kLlama3},
    {"smaug-bpe", kLlama3},
    {"glm4", kLlama3},
    {"chatglm-bpe", kLlama3},
    {"qwen2", kQwen2, false, true},
    {"stablelm2", kQwen2, false, true},
    {"deepseek-r1-qwen", kQwen2, false, true},
    {"qwen35", kQwen35Chain, false, true},
    {"gpt-4o", kO200k},
    {"llama4", kO200k},
    {"tekken", kTekken, true},
    {"deepseek-v3", kDeepseekV3},
    {"deepseek-coder", kDeepseekCoder},
    {"deepseek-llm", kDeepseekLlm},
    {"falcon", kFalcon},
};

}  // namespace

Result<GgufPreTokenizer> gguf_pre_tokenizer(std::string_view name,
                                            const std::shared_ptr<const CharTable>& table) {
  for (const Row& row : kRows) {
    if (row.name != name) {
      continue;
    }
    std::vector<std::unique_ptr<const PreTokenizer>> steps;
    if (row.digits) {
      steps.push_back(std::make_unique<ClassSplit>(
          ClassSplit::Class::kNumeric, SplitBehavior::kIsolated, table));
    }
    for (const std::string_view pattern : row.patterns) {
      GENESIS_TRY(Finder finder, Finder::for_regex(pattern, table));
      steps.push_back(std::make_unique<Split>(std::move(finder), SplitBehavior::kIsolated, false));
    }
    return GgufPreTokenizer{
        std::make_unique<PreTokenizerSequence>(std::move(steps)), row.ignore_merges, row.nfc};
  }
  return fail_param("tokenizer.ggml.pre",
                    fmt::format("pre-tokenizer '{}' is not supported", name),
                    ErrorCode::kUnsupported);
}

}  // namespace genesis::text
