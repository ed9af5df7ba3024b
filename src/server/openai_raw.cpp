#include "server/openai_raw.h"

#include "base/json.h"
#include "net/sse.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace genesis::server {

namespace {

// Far more than any server has; keeps a hostile one from filling the memory with names.
constexpr std::size_t kMaxMembers = 64;

constexpr std::string_view kNull = "null";

// Read and written by type elsewhere.
constexpr std::array<std::string_view, 8> kChoiceKnown{"index",
                                                       "delta",
                                                       "message",
                                                       "text",
                                                       "logprobs",
                                                       "finish_reason",
                                                       "token_ids",
                                                       "prompt_token_ids"};
constexpr std::array<std::string_view, 5> kMessageKnown{
    "role", "content", "reasoning_content", "reasoning", "tool_calls"};

template <std::size_t N>
bool is_in(const std::array<std::string_view, N>& known, std::string_view key) {
  return std::ranges::find(known, key) != known.end();
}

bool is_empty_list(std::string_view value) {
  return value.starts_with('[') && value.find_first_not_of(" \t\r\n", 1) == value.find_last_of(']');
}

// The values of a list as raw texts: a list is scanned as the object that numbers its elements.
template <typename Each>
void each_element(std::string_view list, const Each& each) {
  std::size_t depth = 0;
  std::size_t start = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (in_string) {
      i += c == '\\' ? 1 : 0;
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    }
    const bool ends = (c == ',' && depth == 1) || (c == ']' && depth == 0);
    if (ends && i > start) {
      each(list.substr(start, i - start));
    }
    start = ends ? i + 1 : start;
    if (depth == 0) {
      return;
    }
  }
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  const auto last = text.find_last_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, last - first + 1);
}

}  // namespace

RawMember* RawMembers::find(std::string_view key) {
  const auto at = std::ranges::find(members_, key, &RawMember::key);
  return at == members_.end() ? nullptr : &*at;
}

void RawMembers::put(std::string_view key, std::string_view value) {
  RawMember* const known = find(key);
  if (known == nullptr) {
    if (members_.size() < kMaxMembers) {
      members_.push_back({std::string(key), std::string(value)});
    }
  } else if (value != kNull) {
    known->value = value;
  }
}

void RawMembers::append(std::string_view key, std::string_view value) {
  RawMember* const known = find(key);
  const bool joins = known != nullptr && known->value.size() >= 2 && value.size() >= 2 &&
                     known->value.front() == value.front() &&
                     (value.front() == '"' || value.front() == '[');
  if (!joins) {
    put(key, value);
    return;
  }
  if (value.front() == '[' && (is_empty_list(value) || is_empty_list(known->value))) {
    known->value = is_empty_list(value) ? known->value : std::string(value);
    return;
  }
  // "ab" + "cd" -> "abcd", [1] + [2] -> [1,2]
  known->value.pop_back();
  known->value += value.front() == '[' ? "," : "";
  known->value += value.substr(1);
}

std::optional<std::string_view> RawMembers::get(std::string_view key) const {
  const auto at = std::ranges::find(members_, key, &RawMember::key);
  return at == members_.end() || at->value == kNull ? std::nullopt
                                                    : std::optional<std::string_view>(at->value);
}

void OpenAiRaw::add(std::string_view raw) {
  const auto members = scan_members(raw);
  if (!members) {
    return;
  }
  ++objects_;
  only_ = objects_ == 1 ? std::string(raw) : std::string();
  for (const JsonMember& member : *members) {
    if (member.key == "choices") {
      each_element(trimmed(member.value), [&](std::string_view choice) { add_choice(choice); });
    } else if (member.key != "object") {
      top_.put(member.key, member.value);
    }
  }
}

void OpenAiRaw::add_choice(std::string_view raw) {
  const auto members = scan_members(trimmed(raw));
  if (!members) {
    return;
  }
  std::size_t index = 0;
  for (const JsonMember& member : *members) {
    if (member.key == "index") {
      std::from_chars(member.value.data(), member.value.data() + member.value.size(), index);
    }
    has_messages_ = has_messages_ || member.key == "message";
    has_deltas_ = has_deltas_ || member.key == "delta";
    finished_ += member.key == "finish_reason" && member.value != kNull ? 1U : 0U;
  }
  if (index >= choices_.size()) {
    return;
  }
  for (const JsonMember& member : *members) {
    if (!is_in(kChoiceKnown, member.key)) {
      choices_[index].put(member.key, member.value);
    } else if (member.key == "delta") {
      const auto inner = scan_members(member.value);
      for (const JsonMember& part : inner ? *inner : std::vector<JsonMember>()) {
        if (!is_in(kMessageKnown, part.key)) {
          messages_[index].append(part.key, part.value);
        }
      }
    }
  }
}

std::optional<std::string_view> OpenAiRaw::whole() const {
  // A chunk of the older route looks like a body: it is one when it is alone, ends every choice and
  // tells the usage.
  const bool ended = finished_ == choices_.size() && top_.get("usage").has_value();
  return objects_ == 1 && !has_deltas_ && (has_messages_ || ended)
             ? std::optional<std::string_view>(only_)
             : std::nullopt;
}

std::optional<std::string> OpenAiRawStream::frame(std::string_view raw) {
  const auto members = scan_members(raw);
  if (!members) {
    return std::nullopt;
  }
  bool has_choices = false;
  std::string_view usage;
  for (const JsonMember& member : *members) {
    if (member.key == "object" && member.value == "\"chat.completion\"") {
      return std::nullopt;
    }
    if (member.key == "choices") {
      has_choices = !is_empty_list(member.value);
    } else if (member.key == "usage") {
      usage = member.value;
    }
  }
  JsonWriter head;
  head.begin_object();
  for (const JsonMember& member : *members) {
    if (member.key == "id" || member.key == "object" || member.key == "created" ||
        member.key == "model") {
      head.field_raw(member.key, member.value);
    }
  }
  head_ = head.take();
  if (include_usage_) {
    told_usage_ = !usage.empty() && usage != kNull;
    return net::sse_frame(raw);
  }
  if (usage.empty()) {
    return net::sse_frame(raw);
  }
  if (!has_choices) {
    return std::string();
  }
  JsonWriter rest;
  rest.begin_object();
  for (const JsonMember& member : *members) {
    if (member.key != "usage") {
      rest.field_raw(member.key, member.value);
    }
  }
  rest.end_object();
  return net::sse_frame(rest.str());
}

}  // namespace genesis::server
