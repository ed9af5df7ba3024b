// AnswerParser's other half: the sections that hold calls, from the opening marker to the end of
// the last object.
#include "text/answer/answer_parser.h"
#include "text/answer/white_space.h"

#include <utility>

namespace genesis::text {

namespace {

// Markers and a name of 64 characters fit several times.
constexpr std::size_t kMostHeaderBytes = 512;

}  // namespace

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

bool AnswerParser::is_live() const {
  return options_.flow == CallFlow::kLive ||
         (options_.flow == CallFlow::kLiveBehindMarker && opener_ == dialect_->openers.data());
}

bool AnswerParser::read_call(char c) {
  const CallReader::Status status = reader_->push(c);
  if (status == CallReader::Status::kBroken) {
    return false;
  }
  if (!told_ || ended_) {
    held_.push_back(c);
  }
  if (!told_ && (reader_->made() || (is_live() && reader_->ready()))) {
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

}  // namespace genesis::text
