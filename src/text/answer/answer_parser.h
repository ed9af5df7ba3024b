// AnswerParser: takes an answer apart while it is written: text for the user, reasoning, and calls
// of tools. However the answer is cut into pieces, the events say the same.
//
// The rules, in the order in which they matter:
// - Reasoning is what stands between the markers; it opens at the answer's beginning only (or in
//   the prompt), and holds whatever comes, calls included, up to its closing marker or the end.
//   Blank lines at its borders are dropped.
// - A call begins at an opening marker of the format, or, where the format allows it, with JSON at
//   the answer's beginning or behind another call. It is a call when it names a known tool and its
//   arguments are one JSON object: given as such, as a string that holds one, or left out.
// - What turns out to be no call is text, every byte of it, its markers included. Reading goes on
//   behind it; calls that were told before stand.
// - Markers and white space around calls are dropped; other text before, between and behind calls
//   is text.
#pragma once

#include "text/answer/call_reader.h"
#include "text/answer/tool_dialect.h"
#include "text/answer/tool_format.h"

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

struct AnswerEvent {
  enum class Kind : std::uint8_t {
    kText,       // `text` for the user
    kReasoning,  // `text` of a thought
    kCallBegin,  // `text` is the tool's name
    kArguments,  // `text` continues the call's arguments, JSON as the model wrote it
    kCallEnd,    // the arguments are a whole JSON object, unless `cut`
  };

  Kind kind = Kind::kText;
  int call = -1;  // number of the call, from 0
  bool cut = false;
  std::string text;

  bool operator==(const AnswerEvent&) const = default;
};

// When a call is told.
enum class CallFlow : std::uint8_t {
  kWhole,  // when it is complete: what is told is a call with a JSON object, always
  // As it is written, once the name is known and the arguments have begun. For answers under a
  // grammar, whose JSON cannot break: the one way to an incomplete object is then an answer cut for
  // length, which ends in kCallEnd with `cut`, and has finish reason "length".
  kLive,
  // So behind the format's first opening marker, which a grammar of "text, or calls" knows; calls
  // in other forms are text to it, and are told whole.
  kLiveBehindMarker,
};

struct AnswerOptions {
  ToolFormat tools = ToolFormat::kNone;
  ReasoningFormat reasoning = ReasoningFormat::kNone;
  bool starts_in_reasoning = false;
  std::vector<std::string> tool_names;  // of the request; other names make no call
  CallFlow flow = CallFlow::kWhole;
  std::size_t most_held_bytes = 4 * 1024 * 1024;  // of one undecided call; beyond it is text
  int most_calls = 128;                           // further ones are text
};

// Of one choice. Not thread-safe.
class AnswerParser {
 public:
  explicit AnswerParser(AnswerOptions options);
  AnswerParser(AnswerParser&&) = default;
  AnswerParser& operator=(AnswerParser&&) = default;

  // The next piece of decoded text, whole characters as the detokenizer gives them.
  std::vector<AnswerEvent> push(std::string_view piece);
  // A special token, by its content. One that is no marker of the formats is dropped, as decoding
  // without special tokens does.
  std::vector<AnswerEvent> push_special(std::string_view token);
  // The answer is over: what was held back.
  std::vector<AnswerEvent> finish();

  // Calls told so far.
  int calls() const { return calls_; }

  // The next text is reasoning as far as is known: what usage counts as reasoning tokens.
  bool in_reasoning() const { return mode_ == Mode::kReasoning; }

 private:
  enum class Mode : std::uint8_t {
    kText,
    kReasoning,
    kInner,   // behind an opening marker: white space and the second marker
    kOpen,    // behind the opening marker(s): white space, then the body
    kHeader,  // up to the arguments' brace
    kCall,    // `reader_` reads
    kItem,    // in an array, before a call
    kItems,   // in an array, behind a call
  };
  // Where in text or reasoning the next character stands, white space aside.
  enum class Edge : std::uint8_t { kStart, kBehindReasoning, kBehindCall, kMiddle };

  // Text and reasoning.
  bool in_text() const { return mode_ == Mode::kText || mode_ == Mode::kReasoning; }

  void take(char c);
  std::size_t take_plain(std::string_view piece);
  template <typename Visit>
  bool any_marker(Visit visit) const;
  void take_in_text(char c);
  void release_marker();
  void take_marker();
  void take_character(char c);
  bool may_hold(char c) const;
  void release_space();
  bool begins_bare_call(char c) const;
  bool is_call_marker(std::string_view token) const;

  // Calls. False: `c` cannot stand here, so what is held is no call.
  void open_call(const CallOpener& opener);
  bool take_in_section(char c);
  bool take_body(char c);
  bool take_inner(char c);
  bool take_header(char c);
  bool take_item(char c);
  bool begin_reader(CallReader::Form form, std::string name, char c);
  bool is_live() const;
  bool read_call(char c);
  void tell_call();
  void flush_arguments();
  void end_call(bool cut);
  void leave_reader();
  void give_up();

  void emit(AnswerEvent::Kind kind, std::string_view text);
  std::vector<AnswerEvent> take_events();

  AnswerOptions options_;
  const ToolDialect* dialect_;
  ReasoningMarkers thoughts_;
  std::bitset<256> notable_;  // first bytes of markers

  Mode mode_ = Mode::kText;
  Edge edge_ = Edge::kStart;
  std::string space_;     // white space that may turn out to stand at a border
  std::string marker_;    // text that may turn out to be a marker
  bool special_ = false;  // it comes as a special token

  const CallOpener* opener_ = nullptr;  // of the section, or of the last call
  bool closer_due_ = false;             // the opener's own closer may follow
  std::string held_;                    // the undecided call so far, or what follows its arguments
  std::size_t inner_matched_ = 0;
  std::string header_;
  bool list_ = false;  // in an array
  std::optional<CallReader> reader_;
  bool told_ = false;   // kCallBegin is out
  bool ended_ = false;  // kCallEnd is out
  int calls_ = 0;       // told so far

  std::vector<AnswerEvent> events_;
};

}  // namespace genesis::text
