// Everything is decided byte by byte, so that the cut of the pieces cannot matter; what is held
// back is at most a marker's beginning, white space, and one undecided call.
#include "text/answer/answer_parser.h"

#include <algorithm>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Longer runs of white space are told as they are: nobody's border, and a model that writes blanks
// forever must not fill memory.
constexpr std::size_t kMostSpaceBytes = 4096;

// Markers and a name of 64 characters fit several times.
constexpr std::size_t kMostHeaderBytes = 512;

constexpr CallOpener kBareOpener{.body = CallBody::kPlainJson};

bool is_space(char c) {
  return kSpace.contains(c);
}

std::string_view without_leading_space(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}

// Blank lines go, the indentation of the first line of text stays.
std::string_view without_blank_lines(std::string_view text) {
  const std::string_view inked = without_leading_space(text);
  const std::size_t newline = text.substr(0, text.size() - inked.size()).rfind('\n');
  return newline == std::string_view::npos ? inked : text.substr(newline + 1);
}

}  // namespace

AnswerParser::AnswerParser(AnswerOptions options)
    : options_(std::move(options)),
      dialect_(&tool_dialect(options_.tool_names.empty() ? ToolFormat::kNone : options_.tools)),
      thoughts_(reasoning_markers(options_.reasoning)) {
  const bool thinks = !thoughts_.open.empty();
  if (thinks && options_.starts_in_reasoning) {
    mode_ = Mode::kReasoning;
  } else if (!thinks && dialect_->openers.empty()) {
    edge_ = Edge::kMiddle;  // nothing is special, not even the beginning
  }
  const auto note = [this](std::string_view marker) {
    if (!marker.empty()) {
      notable_.set(static_cast<unsigned char>(marker.front()));
    }
  };
  note(thoughts_.open);
  note(thoughts_.close);
  std::ranges::for_each(dialect_->closers, note);
  for (const CallOpener& opener : dialect_->openers) {
    note(opener.marker);
    note(opener.closer);
  }
}

std::vector<AnswerEvent> AnswerParser::push(std::string_view piece) {
  while (!piece.empty()) {
    if (const std::size_t plain = take_plain(piece); plain > 0) {
      piece.remove_prefix(plain);
    } else {
      take(piece.front());
      piece.remove_prefix(1);
    }
  }
  return take_events();
}

std::vector<AnswerEvent> AnswerParser::push_special(std::string_view token) {
  const auto is_token = [token](std::string_view marker) { return marker == token; };
  const bool wanted = in_text() ? any_marker(is_token)
                                : mode_ == Mode::kHeader || mode_ == Mode::kOpen ||
                                      opener_->inner == token || is_call_marker(token);
  if (wanted) {
    special_ = true;
    std::ranges::for_each(token, [this](char c) { take(c); });
    special_ = false;
  }
  return take_events();
}

std::vector<AnswerEvent> AnswerParser::finish() {
  while (!in_text() || !marker_.empty()) {
    if (in_text()) {
      release_marker();
    } else {
      give_up();
    }
  }
  release_space();
  return take_events();
}

bool AnswerParser::is_call_marker(std::string_view token) const {
  const auto is_token = [token](std::string_view marker) { return marker == token; };
  return std::ranges::any_of(dialect_->closers, is_token) ||
         std::ranges::any_of(dialect_->openers, is_token, &CallOpener::marker);
}

void AnswerParser::take(char c) {
  if (in_text()) {
    take_in_text(c);
  } else if (!take_in_section(c)) {
    give_up();
    take_in_text(c);
  }
}

// How many bytes at the front of `piece` are text beyond doubt; they are told.
std::size_t AnswerParser::take_plain(std::string_view piece) {
  if (!in_text() || edge_ != Edge::kMiddle || !marker_.empty() || !space_.empty()) {
    return 0;
  }
  const auto* const end = std::ranges::find_if(
      piece, [this](char c) { return notable_[static_cast<unsigned char>(c)] || may_hold(c); });
  const auto length = static_cast<std::size_t>(end - piece.begin());
  if (length > 0) {
    emit(mode_ == Mode::kText ? AnswerEvent::Kind::kText : AnswerEvent::Kind::kReasoning,
         piece.substr(0, length));
  }
  return length;
}

// True when `visit` is true for a marker that means something where the text stands.
template <typename Visit>
bool AnswerParser::any_marker(Visit visit) const {
  if (mode_ == Mode::kReasoning) {
    return visit(thoughts_.close) || (edge_ == Edge::kStart && visit(thoughts_.open));
  }
  if (edge_ == Edge::kStart && !thoughts_.open.empty() && visit(thoughts_.open)) {
    return true;
  }
  if (calls_ > 0 && std::ranges::any_of(dialect_->closers, visit)) {
    return true;
  }
  if (closer_due_ && edge_ == Edge::kBehindCall && visit(opener_->closer)) {
    return true;
  }
  return calls_ < options_.most_calls &&
         std::ranges::any_of(dialect_->openers, visit, &CallOpener::marker);
}

void AnswerParser::take_in_text(char c) {
  marker_.push_back(c);
  if (any_marker([this](std::string_view marker) { return marker == marker_; })) {
    take_marker();
    return;
  }
  if (any_marker([this](std::string_view marker) { return marker.starts_with(marker_); })) {
    return;
  }
  release_marker();
}

// It is none: its first byte is text, with the others another one may begin.
void AnswerParser::release_marker() {
  const std::string tried = std::exchange(marker_, {});
  take_character(tried.front());
  for (const char other : std::string_view(tried).substr(1)) {
    take(other);
  }
}

void AnswerParser::take_marker() {
  const std::string marker = std::exchange(marker_, {});
  if (mode_ == Mode::kReasoning) {
    space_.clear();
    if (marker == thoughts_.close) {
      mode_ = Mode::kText;
      edge_ = Edge::kBehindReasoning;
    }  // else the model repeats the opening one of the prompt
    return;
  }
  if (marker == thoughts_.open && edge_ == Edge::kStart) {
    space_.clear();
    mode_ = Mode::kReasoning;
    return;
  }
  const auto opener =
      std::ranges::find(dialect_->openers, std::string_view(marker), &CallOpener::marker);
  if (opener != dialect_->openers.end()) {
    held_ = std::exchange(space_, {});
    held_ += special_ ? std::string_view() : std::string_view(marker);
    open_call(*opener);
    return;
  }
  space_.clear();
  closer_due_ = closer_due_ && marker != opener_->closer;
  edge_ = Edge::kBehindCall;
}

// A character of text or reasoning that belongs to no marker.
void AnswerParser::take_character(char c) {
  if (may_hold(c)) {
    space_.push_back(c);
    if (space_.size() > kMostSpaceBytes) {
      release_space();
      edge_ = Edge::kMiddle;
    }
    return;
  }
  if (begins_bare_call(c)) {
    held_ = std::exchange(space_, {});
    open_call(kBareOpener);
    take(c);
    return;
  }
  release_space();
  emit(mode_ == Mode::kText ? AnswerEvent::Kind::kText : AnswerEvent::Kind::kReasoning, {&c, 1});
  edge_ = Edge::kMiddle;
}

// White space is held where a border may follow or precede.
bool AnswerParser::may_hold(char c) const {
  if (edge_ == Edge::kBehindCall && dialect_->separators.contains(c)) {
    return true;
  }
  return is_space(c) &&
         (mode_ == Mode::kReasoning || edge_ != Edge::kMiddle || !dialect_->openers.empty());
}

// Something else than a border follows: what is held is told, but for what belongs to the border
// before it.
void AnswerParser::release_space() {
  const std::string held = std::exchange(space_, {});
  const bool thinking = mode_ == Mode::kReasoning;
  std::string_view text = held;
  if (edge_ == Edge::kBehindReasoning) {
    text = without_blank_lines(text);
  } else if (edge_ == Edge::kBehindCall || (edge_ == Edge::kStart && thinking)) {
    text = without_leading_space(text);
  }
  emit(thinking ? AnswerEvent::Kind::kReasoning : AnswerEvent::Kind::kText, text);
}

bool AnswerParser::begins_bare_call(char c) const {
  return (c == '{' || c == '[') && mode_ == Mode::kText && dialect_->bare &&
         edge_ != Edge::kMiddle && calls_ < options_.most_calls;
}

void AnswerParser::open_call(const CallOpener& opener) {
  opener_ = &opener;
  closer_due_ = false;
  inner_matched_ = 0;
  header_.clear();
  list_ = false;
  mode_ = opener.inner.empty() ? Mode::kOpen : Mode::kInner;
}

bool AnswerParser::take_in_section(char c) {
  if (held_.size() >= options_.most_held_bytes) {
    return false;
  }
  if (mode_ == Mode::kCall) {
    return read_call(c);
  }
  if (mode_ == Mode::kHeader) {
    return take_header(c);
  }
  if (is_space(c) && inner_matched_ == 0) {
    held_.push_back(c);
    return true;
  }
  switch (mode_) {
    case Mode::kInner:
      return take_inner(c);
    case Mode::kOpen:
      return take_body(c);
    default:
      return take_item(c);
  }
}

bool AnswerParser::take_inner(char c) {
  if (c != opener_->inner[inner_matched_]) {
    return false;
  }
  held_.push_back(c);
  if (++inner_matched_ == opener_->inner.size()) {
    inner_matched_ = 0;
    mode_ = Mode::kOpen;
  }
  return true;
}

// The first character behind the opening marker.
bool AnswerParser::take_body(char c) {
  const CallBody body = opener_->body;
  if (body != CallBody::kHeader) {
    if (c == '{') {
      const bool plain = body == CallBody::kPlainJson;
      return begin_reader(
          plain ? CallReader::Form::kPlainObject : CallReader::Form::kObject, {}, c);
    }
    if (c == '[') {
      list_ = true;
      mode_ = Mode::kItem;
      held_.push_back(c);
      return true;
    }
  }
  if (body == CallBody::kJson || body == CallBody::kPlainJson) {
    return false;
  }
  mode_ = Mode::kHeader;
  return take_header(c);
}

bool AnswerParser::take_header(char c) {
  if (c == '{') {
    const std::string name(name_in_header(options_.tools, header_));
    return is_tool_name(options_.tool_names, name) &&
           begin_reader(CallReader::Form::kArguments, name, c);
  }
  if (header_.size() >= kMostHeaderBytes) {
    return false;
  }
  held_.push_back(c);
  header_.push_back(c);
  return true;
}

bool AnswerParser::take_item(char c) {
  if (mode_ == Mode::kItem) {
    if (c != '{' || calls_ >= options_.most_calls) {
      return false;
    }
    const bool plain = opener_->body == CallBody::kPlainJson;
    return begin_reader(plain ? CallReader::Form::kPlainObject : CallReader::Form::kObject, {}, c);
  }
  if (c != ',' && c != ']') {
    return false;
  }
  if (c == ',') {
    held_.push_back(c);
    mode_ = Mode::kItem;
  } else {
    held_.clear();
    mode_ = Mode::kText;
  }
  return true;
}

bool AnswerParser::begin_reader(CallReader::Form form, std::string name, char c) {
  reader_.emplace(options_.tool_names, form, std::move(name));
  told_ = false;
  ended_ = false;
  mode_ = Mode::kCall;
  return read_call(c);
}

bool AnswerParser::read_call(char c) {
  const CallReader::Status status = reader_->push(c);
  if (status == CallReader::Status::kBroken) {
    return false;
  }
  if (!told_ || ended_) {
    held_.push_back(c);
  }
  if (!told_ && (reader_->made() || (options_.flow == CallFlow::kLive && reader_->ready()))) {
    tell_call();
  }
  if (told_ && !ended_ && reader_->made()) {
    end_call(/*cut=*/false);
  }
  if (status == CallReader::Status::kEnd) {
    leave_reader();
  }
  return true;
}

void AnswerParser::tell_call() {
  told_ = true;
  held_.clear();
  edge_ = Edge::kBehindCall;
  events_.push_back(
      {.kind = AnswerEvent::Kind::kCallBegin, .call = calls_++, .text = reader_->name()});
}

void AnswerParser::flush_arguments() {
  if (reader_ && told_ && !ended_) {
    emit(AnswerEvent::Kind::kArguments, reader_->take_arguments());
  }
}

void AnswerParser::end_call(bool cut) {
  flush_arguments();
  ended_ = true;
  events_.push_back({.kind = AnswerEvent::Kind::kCallEnd, .call = calls_ - 1, .cut = cut});
}

// The call's object is closed.
void AnswerParser::leave_reader() {
  reader_.reset();
  held_.clear();
  closer_due_ = !opener_->closer.empty();
  mode_ = list_ ? Mode::kItems : Mode::kText;
}

// What is held is no call: it is text, at the border where it began.
void AnswerParser::give_up() {
  if (reader_ && told_ && !ended_) {
    end_call(/*cut=*/true);
  }
  reader_.reset();
  mode_ = Mode::kText;
  const std::string held = std::exchange(held_, {});
  const std::size_t ink = held.find_last_not_of(kSpace);
  if (ink != std::string::npos) {
    space_ = held.substr(0, held.find_first_not_of(kSpace));
    release_space();
    emit(AnswerEvent::Kind::kText, without_leading_space(held.substr(0, ink + 1)));
    edge_ = Edge::kMiddle;
  }
  space_ = held.substr(ink + 1);  // npos + 1 is 0
}

// Neighbours of one kind become one event.
void AnswerParser::emit(AnswerEvent::Kind kind, std::string_view text) {
  if (text.empty()) {
    return;
  }
  if (events_.empty() || events_.back().kind != kind) {
    const int call = kind == AnswerEvent::Kind::kArguments ? calls_ - 1 : -1;
    events_.push_back({.kind = kind, .call = call, .text = {}});
  }
  events_.back().text += text;
}

std::vector<AnswerEvent> AnswerParser::take_events() {
  flush_arguments();
  return std::exchange(events_, {});
}

}  // namespace genesis::text
