#include "text/assistant_spans.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::string_view kAssistant = "assistant";

bool is_of(const SourceSpan& span, std::size_t message) {
  return span.message && *span.message == message;
}

// Where the last text of `message` that begins before `limit` ends; nullopt if there is none.
std::optional<std::size_t> end_of_message(const std::vector<SourceSpan>& sources,
                                          std::size_t message,
                                          std::size_t limit) {
  std::optional<std::size_t> end;
  for (const SourceSpan& span : sources) {
    if (is_of(span, message) && span.end <= limit) {
      end = span.end;
    }
  }
  return end;
}

class TurnFinder {
 public:
  TurnFinder(const RenderedPrompt& prompt, const Turns& turns) : prompt_(prompt), turns_(turns) {}

  std::optional<PlainSpan> turn(std::size_t message) {
    const std::optional<PlainSpan> own = own_text(message);
    const std::optional<std::size_t> taken_over = take_over(message, own);
    if (!taken_over && !own) {
      return std::nullopt;
    }
    const std::size_t begin = taken_over ? *taken_over : own->begin;
    const std::size_t end = end_of_turn(message, own ? own->end : begin);
    return begin < end ? std::optional(PlainSpan{begin, end}) : std::nullopt;
  }

 private:
  // From the message's first text other than its role to its last, as far as no other text comes
  // between.
  std::optional<PlainSpan> own_text(std::size_t message) const {
    std::optional<PlainSpan> own;
    for (const SourceSpan& span : prompt_.sources) {
      if (is_of(span, message)) {
        if (span.part != SourcePart::kRole) {
          own = own ? PlainSpan{own->begin, span.end} : PlainSpan{span.begin, span.end};
        }
      } else if (own) {
        break;
      }
    }
    return own;
  }

  // What the template writes after a message of that role, up to where the model takes over.
  const std::optional<std::string>& header_after(std::size_t message) {
    const std::string role = message > 0 ? turns_.roles[message - 1] : std::string();
    const auto [found, added] = headers_.try_emplace(role);
    if (added) {
      const auto before = turns_.render_first(message);
      const std::size_t size = before ? before->text.size() : 0;
      const std::optional<std::size_t> end =
          before && message > 0 ? end_of_message(before->sources, message - 1, size)
                                : std::optional<std::size_t>(0);
      if (before && end) {
        found->second = before->text.substr(*end);
      }
    }
    return found->second;
  }

  std::optional<std::size_t> take_over(std::size_t message, const std::optional<PlainSpan>& own) {
    const std::size_t limit = own ? own->begin : prompt_.text.size();
    const std::optional<std::size_t> before =
        message > 0 ? end_of_message(prompt_.sources, message - 1, limit)
                    : std::optional<std::size_t>(0);
    const std::optional<std::string>& header = header_after(message);
    if (!before || !header || *before + header->size() > limit ||
        !std::string_view(prompt_.text).substr(*before).starts_with(*header)) {
      return std::nullopt;
    }
    return *before + header->size();
  }

  std::size_t end_of_turn(std::size_t message, std::size_t from) const {
    std::size_t limit = prompt_.text.size();
    for (const SourceSpan& span : prompt_.sources) {
      if (span.begin >= from && !is_of(span, message)) {
        limit = span.begin;
        break;
      }
    }
    const auto written = std::string_view(prompt_.text).substr(from, limit - from);
    std::size_t first = written.size();
    std::size_t end = from;
    for (const std::string& token : turns_.end_tokens) {
      const std::size_t at = token.empty() ? std::string_view::npos : written.find(token);
      if (at < first) {
        first = at;
        end = from + at + token.size();
      }
    }
    return end;
  }

  const RenderedPrompt& prompt_;
  const Turns& turns_;
  std::map<std::string, std::optional<std::string>> headers_;  // by the role before
};

}  // namespace

std::vector<PlainSpan> assistant_spans(const RenderedPrompt& prompt, const Turns& turns) {
  std::vector<PlainSpan> out;
  TurnFinder finder(prompt, turns);
  for (std::size_t message = 0; message < turns.roles.size(); ++message) {
    if (turns.roles[message] != kAssistant) {
      continue;
    }
    const std::optional<PlainSpan> turn = finder.turn(message);
    if (turn && (out.empty() || turn->begin >= out.back().end)) {
      out.push_back(*turn);
    }
  }
  return out;
}

}  // namespace genesis::text
