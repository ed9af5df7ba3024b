// Fuzz target: an answer from a model gone wrong, in every format. The first byte chooses format
// and options, the next eight seed the cuts, the rest is the answer. However it is cut the events
// are the same; what is told as a call is one; where no call and no reasoning is told, no byte is
// lost.
#include "base/check.h"
#include "base/json.h"
#include "text/answer/answer_parser.h"

#include <boost/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

using genesis::text::AnswerEvent;
using genesis::text::AnswerOptions;
using genesis::text::AnswerParser;
using genesis::text::CallFlow;
using genesis::text::ReasoningFormat;
using genesis::text::ToolFormat;

constexpr std::size_t kHead = 9;

// The events of a whole answer, neighbours of a kind joined.
class Story {
 public:
  explicit Story(const AnswerOptions& options) : parser_(options) {}

  void push(std::string_view piece) { add(parser_.push(piece)); }

  const std::vector<AnswerEvent>& finish() {
    add(parser_.finish());
    return events_;
  }

 private:
  void add(std::vector<AnswerEvent> events) {
    for (AnswerEvent& event : events) {
      const bool joins = event.kind != AnswerEvent::Kind::kCallBegin &&
                         event.kind != AnswerEvent::Kind::kCallEnd && !events_.empty() &&
                         events_.back().kind == event.kind;
      if (joins) {
        events_.back().text += event.text;
      } else {
        events_.push_back(std::move(event));
      }
    }
  }

  AnswerParser parser_;
  std::vector<AnswerEvent> events_;
};

AnswerOptions options_of(std::uint8_t choice) {
  return {.tools = static_cast<ToolFormat>(choice % 7),
          .reasoning = static_cast<ReasoningFormat>(choice / 7 % 3),
          .starts_in_reasoning = choice / 21 % 2 == 1,
          .tool_names = {"f", "get_weather"},
          .flow = choice / 42 % 2 == 1 ? CallFlow::kLive : CallFlow::kWhole,
          .most_held_bytes = 4096,
          .most_calls = 8};
}

void check_calls(const std::vector<AnswerEvent>& events, const AnswerOptions& options) {
  std::string arguments;
  int calls = 0;
  bool open = false;
  for (const AnswerEvent& event : events) {
    switch (event.kind) {
      case AnswerEvent::Kind::kCallBegin:
        GENESIS_CHECK(!open && event.call == calls++ && calls <= options.most_calls);
        GENESIS_CHECK(std::ranges::find(options.tool_names, event.text) !=
                      options.tool_names.end());
        open = true;
        arguments.clear();
        break;
      case AnswerEvent::Kind::kArguments:
        GENESIS_CHECK(open && event.call == calls - 1);
        arguments += event.text;
        break;
      case AnswerEvent::Kind::kCallEnd:
        GENESIS_CHECK(open && event.call == calls - 1);
        open = false;
        if (event.cut) {
          GENESIS_CHECK(options.flow != CallFlow::kWhole);
        } else {
          const auto parsed = genesis::parse_json(arguments);
          GENESIS_CHECK(parsed.has_value() && parsed->is_object());
        }
        break;
      default:
        GENESIS_CHECK(!open && !event.text.empty());
    }
  }
  GENESIS_CHECK(!open);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kHead) {
    return 0;
  }
  const AnswerOptions options = options_of(data[0]);
  std::uint64_t seed = 1;
  for (std::size_t i = 1; i < kHead; ++i) {
    seed = seed << 8U | data[i];
  }
  const std::string_view answer(reinterpret_cast<const char*>(data) + kHead, size - kHead);

  Story whole(options);
  whole.push(answer);
  const std::vector<AnswerEvent>& events = whole.finish();
  check_calls(events, options);

  Story cut(options);
  for (std::string_view rest = answer; !rest.empty();) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;  // Knuth, MMIX
    const std::size_t length = std::min<std::size_t>(1 + (seed >> 60U), rest.size());
    cut.push(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  GENESIS_CHECK(cut.finish() == events);

  const bool all_text = std::ranges::all_of(
      events, [](const AnswerEvent& event) { return event.kind == AnswerEvent::Kind::kText; });
  if (all_text && options.reasoning == ReasoningFormat::kNone) {
    GENESIS_CHECK((events.empty() ? "" : events.front().text) == answer);
  }
  return 0;
}
