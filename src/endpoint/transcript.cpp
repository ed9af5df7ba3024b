#include "endpoint/transcript.h"

#include "base/json.h"

#include <boost/json.hpp>

#include <algorithm>
#include <utility>

namespace genesis::endpoint {

namespace {

namespace json = boost::json;

constexpr Channel kReasoning = 0;
constexpr Channel kText = 1;
constexpr Channel kFirstCall = 2;
// More calls than this in one answer are not looked into.
constexpr std::int64_t kMaxCalls = 4'096;

// A part of a delta of tool calls.
struct CallPiece {
  std::int64_t index = 0;
  std::string id;
  std::string type;
  std::string name;
  std::string arguments;
};

bool read_text(const json::object& object, std::string_view key, std::string& out) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return true;
  }
  if (!value->is_string()) {
    return false;
  }
  out = std::string(value->get_string());
  return true;
}

bool has_only(const json::object& object, std::initializer_list<std::string_view> known) {
  return std::ranges::all_of(object, [&](const auto& member) {
    return std::ranges::find(known, std::string_view(member.key())) != known.end();
  });
}

// Nullopt for a form that is not known well enough to be compared.
std::optional<CallPiece> read_call(const json::value& value, std::size_t position) {
  if (!value.is_object() || !has_only(value.get_object(), {"index", "id", "type", "function"})) {
    return std::nullopt;
  }
  const json::object& object = value.get_object();
  CallPiece piece{.index = static_cast<std::int64_t>(position)};
  if (const auto index = get_integer(object, "index"); !index) {
    return std::nullopt;
  } else if (*index) {
    piece.index = **index;
  }
  if (piece.index < 0 || piece.index >= kMaxCalls || !read_text(object, "id", piece.id) ||
      !read_text(object, "type", piece.type)) {
    return std::nullopt;
  }
  const json::value* function = object.if_contains("function");
  if (function == nullptr || function->is_null()) {
    return piece;
  }
  if (!function->is_object() || !has_only(function->get_object(), {"name", "arguments"}) ||
      !read_text(function->get_object(), "name", piece.name) ||
      !read_text(function->get_object(), "arguments", piece.arguments)) {
    return std::nullopt;
  }
  return piece;
}

std::optional<std::vector<CallPiece>> read_calls(const std::string& text) {
  std::vector<CallPiece> pieces;
  if (text.empty()) {
    return pieces;
  }
  const auto parsed = parse_json(text);
  if (!parsed || !parsed->is_array()) {
    return std::nullopt;
  }
  for (const json::value& value : parsed->get_array()) {
    auto piece = read_call(value, pieces.size());
    if (!piece) {
      return std::nullopt;
    }
    pieces.push_back(std::move(*piece));
  }
  return pieces;
}

Channel name_channel(const CallPiece& piece) {
  return kFirstCall + 2 * piece.index;
}

Channel arguments_channel(const CallPiece& piece) {
  return name_channel(piece) + 1;
}

void write_call(JsonWriter& w, const CallPiece& piece) {
  w.begin_object();
  w.field("index", piece.index);
  if (!piece.id.empty()) {
    w.field("id", piece.id);
  }
  if (!piece.type.empty()) {
    w.field("type", piece.type);
  }
  w.key("function");
  w.begin_object();
  if (!piece.name.empty()) {
    w.field("name", piece.name);
  }
  w.field("arguments", piece.arguments);
  w.end_object();
  w.end_object();
}

std::unexpected<Error> differs() {
  return fail(ErrorCode::kCancelled, "the replay said something else than was delivered");
}

}  // namespace

void Transcript::give_up() {
  replayable_ = false;
  for (Choice& choice : choices_) {
    choice = {};
  }
}

void Transcript::add(const ChatDelta& delta) {
  const auto at = static_cast<std::size_t>(delta.index);
  if (!replayable_ || at >= choices_.size()) {
    return;
  }
  const auto calls = read_calls(delta.tool_calls_json);
  bytes_ += delta.text.size() + delta.reasoning.size() + delta.tool_calls_json.size();
  if (!calls || bytes_ > max_bytes_) {
    give_up();
    return;
  }
  Choice& choice = choices_[at];
  const auto append = [&](Channel channel, std::string_view bytes) {
    if (bytes.empty()) {
      return;
    }
    if (choice.segments.empty() || choice.segments.back().channel != channel) {
      choice.segments.push_back({.channel = channel, .bytes = {}});
    }
    choice.segments.back().bytes += bytes;
  };
  append(kReasoning, delta.reasoning);
  append(kText, delta.text);
  for (const CallPiece& piece : *calls) {
    choice.calls.insert(piece.index);
    append(name_channel(piece), piece.name);
    append(arguments_channel(piece), piece.arguments);
  }
  choice.tokens += delta.tokens.size();
  if (delta.finish) {
    choice.finish = delta.finish;
  }
}

Replay::Replay(Transcript& transcript)
    : transcript_(transcript), places_(transcript.choices_.size()) {}

bool Replay::caught_up(std::size_t at) const {
  return places_[at].segment == transcript_.choices_[at].segments.size();
}

bool Replay::caught_up() const {
  for (std::size_t at = 0; at < places_.size(); ++at) {
    if (!caught_up(at)) {
      return false;
    }
  }
  return true;
}

std::optional<std::size_t> Replay::match(std::size_t at, Channel channel, std::string_view piece) {
  const auto& segments = transcript_.choices_[at].segments;
  Place& place = places_[at];
  std::size_t matched = 0;
  while (matched < piece.size() && !caught_up(at)) {
    const Transcript::Segment& segment = segments[place.segment];
    const std::string_view left = std::string_view(segment.bytes).substr(place.offset);
    const std::size_t length = std::min(left.size(), piece.size() - matched);
    if (segment.channel != channel || left.substr(0, length) != piece.substr(matched, length)) {
      return std::nullopt;
    }
    matched += length;
    place.offset += length;
    if (place.offset == segment.bytes.size()) {
      place = {.segment = place.segment + 1, .offset = 0, .tokens = place.tokens};
    }
  }
  return matched;
}

Result<std::optional<ChatDelta>> Replay::take(const ChatDelta& delta) {
  const auto at = static_cast<std::size_t>(delta.index);
  auto calls = read_calls(delta.tool_calls_json);
  if (at >= places_.size() || !transcript_.replayable() || !calls) {
    return differs();
  }
  Transcript::Choice& choice = transcript_.choices_[at];
  // The upstream's own JSON is not passed on: its ids are not those that the client knows.
  ChatDelta rest{.index = delta.index, .stop_sequence = delta.stop_sequence};
  bool same = true;
  const auto remainder = [&](Channel channel, std::string_view piece) {
    const auto matched = match(at, channel, piece);
    same = same && matched.has_value();
    return std::string(piece.substr(matched.value_or(piece.size())));
  };
  rest.reasoning = remainder(kReasoning, delta.reasoning);
  rest.text = remainder(kText, delta.text);
  JsonWriter w;
  w.begin_array();
  bool any_call = false;
  for (CallPiece& piece : *calls) {
    piece.name = remainder(name_channel(piece), piece.name);
    piece.arguments = remainder(arguments_channel(piece), piece.arguments);
    if (choice.calls.contains(piece.index)) {
      piece.id.clear();
      piece.type.clear();
    }
    if (!piece.id.empty() || !piece.name.empty() || !piece.arguments.empty()) {
      write_call(w, piece);
      any_call = true;
    }
  }
  w.end_array();
  rest.tool_calls_json = any_call ? w.take() : std::string();
  const bool ends_early = delta.finish && !caught_up(at);
  const bool ends_otherwise = delta.finish && choice.finish && *delta.finish != *choice.finish;
  const bool goes_on = choice.finish && (!rest.text.empty() || !rest.reasoning.empty() || any_call);
  if (!same || ends_early || ends_otherwise || goes_on) {
    return differs();
  }
  for (const TokenInfo& token : delta.tokens) {
    if (places_[at].tokens++ >= choice.tokens) {
      rest.tokens.push_back(token);
    }
  }
  rest.finish = choice.finish ? std::nullopt : delta.finish;
  if (rest.text.empty() && rest.reasoning.empty() && !any_call && rest.tokens.empty() &&
      !rest.finish) {
    return std::nullopt;
  }
  transcript_.add(rest);
  places_[at] = {.segment = choice.segments.size(), .offset = 0, .tokens = places_[at].tokens};
  return rest;
}

}  // namespace genesis::endpoint
