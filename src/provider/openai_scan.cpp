#include "provider/openai_scan.h"

#include "base/json_cursor.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

namespace genesis::provider {

namespace {

// Fields that are looked at, so that a second one of the same name is noticed.
enum class Field : std::uint8_t {
  kChoices,
  kIndex,
  kDelta,
  kText,
  kContent,
  kReasoning,
  kReasoningContent,
  kCount
};

// Usual members that carry nothing beyond what the first chunk of an answer tells, too.
constexpr std::array<std::string_view, 7> kKnownTop = {"id",
                                                       "created",
                                                       "model",
                                                       "system_fingerprint",
                                                       "service_tier",
                                                       "obfuscation",
                                                       "prompt_token_ids"};
constexpr std::array<std::string_view, 2> kKnownOfChoice = {"stop_reason", "matched_stop"};
constexpr std::array<std::string_view, 1> kKnownOfDelta = {"role"};

class ChunkScan {
 public:
  ChunkScan(std::string_view text, int choices) : json_(text), choices_(choices) {}

  std::optional<ScannedChunk> run() {
    if (!read_top() || !json_.at_end() || !seen(Field::kChoices)) {
      return std::nullopt;
    }
    ScannedChunk chunk{.only_known = only_known_};
    ChatDelta& delta = chunk.delta;
    delta.index = static_cast<int>(index_);
    delta.text = text_of(Field::kContent) + text_of(Field::kText);
    // As OpenAiReader: the older name wins.
    const auto& older = texts_[static_cast<std::size_t>(Field::kReasoningContent)];
    delta.reasoning = text_of(older ? Field::kReasoningContent : Field::kReasoning);
    return chunk;
  }

 private:
  // Marks `field`; false when it was there before.
  bool once(Field field) { return !std::exchange(seen_[static_cast<std::size_t>(field)], true); }

  bool seen(Field field) const { return seen_[static_cast<std::size_t>(field)]; }

  static bool odd(std::string_view name) { return name.contains('\\'); }

  bool read_top() {
    json_.begin_object();
    while (const auto name = json_.next_member()) {
      bool plain = !odd(*name);
      if (*name == "choices") {
        plain = once(Field::kChoices) && read_choices();
      } else if (*name == "error" || *name == "usage") {
        plain = json_.take_null();
      } else if (*name == "object") {
        const auto object = json_.string();
        plain = object && *object != "error" && !odd(*object);
      } else if (plain) {
        plain = pass_over(*name, kKnownTop);
      }
      if (!plain) {
        return false;
      }
    }
    return true;
  }

  // A member whose value is not looked at.
  template <std::size_t N>
  bool pass_over(std::string_view name, const std::array<std::string_view, N>& known) {
    only_known_ = only_known_ && std::ranges::find(known, name) != known.end();
    return json_.skip();
  }

  // Exactly one choice.
  bool read_choices() {
    return json_.begin_array() && json_.next_item() && read_choice() && !json_.next_item();
  }

  bool read_choice() {
    json_.begin_object();
    while (const auto name = json_.next_member()) {
      bool plain = !odd(*name);
      if (*name == "index") {
        const auto index = json_.integer();
        plain = once(Field::kIndex) && index && *index >= 0 && *index < choices_;
        index_ = index.value_or(0);
      } else if (*name == "delta") {
        plain = once(Field::kDelta) && read_delta();
      } else if (*name == "text") {
        plain = read_text(Field::kText);
      } else if (*name == "message" || *name == "logprobs" || *name == "finish_reason" ||
                 *name == "token_ids" || *name == "prompt_token_ids") {
        plain = json_.take_null();
      } else if (plain) {
        plain = pass_over(*name, kKnownOfChoice);
      }
      if (!plain) {
        return false;
      }
    }
    return !json_.failed();
  }

  bool read_delta() {
    json_.begin_object();
    while (const auto name = json_.next_member()) {
      bool plain = !odd(*name);
      if (*name == "content") {
        plain = read_text(Field::kContent);
      } else if (*name == "reasoning_content") {
        plain = read_text(Field::kReasoningContent);
      } else if (*name == "reasoning") {
        plain = read_text(Field::kReasoning);
      } else if (*name == "refusal" || *name == "tool_calls" || *name == "function_call") {
        plain = json_.take_null();
      } else if (plain) {
        plain = pass_over(*name, kKnownOfDelta);
      }
      if (!plain) {
        return false;
      }
    }
    return !json_.failed();
  }

  // A string, or null for none.
  bool read_text(Field field) {
    if (!once(field)) {
      return false;
    }
    if (json_.take_null()) {
      return true;
    }
    auto& text = texts_[static_cast<std::size_t>(field)];
    text = json_.string();
    return text.has_value();
  }

  std::string text_of(Field field) const {
    return unescape_json(texts_[static_cast<std::size_t>(field)].value_or(""));
  }

  JsonCursor json_;
  const int choices_;
  std::array<bool, static_cast<std::size_t>(Field::kCount)> seen_{};
  std::int64_t index_ = 0;
  bool only_known_ = true;
  std::array<std::optional<std::string_view>, static_cast<std::size_t>(Field::kCount)> texts_;
};

}  // namespace

std::optional<ScannedChunk> scan_openai_chunk(std::string_view text, int choices) {
  return ChunkScan(text, choices).run();
}

}  // namespace genesis::provider
