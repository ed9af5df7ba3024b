#include "server/anthropic_raw.h"

#include "base/json.h"

#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

// Far above any answer; an index beyond it is broken.
constexpr std::size_t kMaxBlocks = 4096;

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

std::string string_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<std::size_t> index_of(const json::object& event) {
  const auto index = get_integer(event, "index");
  if (!index || !*index || **index < 0 || std::cmp_greater_equal(**index, kMaxBlocks)) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(**index);
}

void append_text(json::object& block, std::string_view key, std::string_view text) {
  json::value& value = block[key];
  if (!value.is_string()) {
    value = json::string();
  }
  value.get_string().append(text);
}

}  // namespace

void AnthropicRaw::add(std::string_view raw) {
  const auto parsed = parse_json(raw);
  const json::object* event = parsed ? parsed->if_object() : nullptr;
  if (event == nullptr) {
    return;
  }
  const std::string type = string_at(*event, "type");
  if (type == "message") {
    whole_ = raw;
  } else if (type == "message_start" && !message_) {
    const json::object* message = object_at(*event, "message");
    message_ = message == nullptr ? json::object() : *message;
  } else if (type == "content_block_start") {
    start_block(*event);
  } else if (type == "content_block_delta") {
    add_delta(*event);
  } else if (type == "message_delta") {
    close(*event);
  }
}

void AnthropicRaw::start_block(const json::object& event) {
  const auto index = index_of(event);
  const json::object* block = object_at(event, "content_block");
  if (!index || block == nullptr || *index != blocks_.size()) {
    return;
  }
  blocks_.push_back({*block, {}});
}

void AnthropicRaw::add_delta(const json::object& event) {
  const auto index = index_of(event);
  const json::object* delta = object_at(event, "delta");
  if (!index || *index >= blocks_.size() || delta == nullptr) {
    return;
  }
  Block& block = blocks_[*index];
  const std::string type = string_at(*delta, "type");
  if (type == "input_json_delta") {
    block.input_json += string_at(*delta, "partial_json");
  } else if (type == "citations_delta") {
    json::value& list = block.value["citations"];
    if (!list.is_array()) {
      list = json::array();
    }
    const json::value* citation = delta->if_contains("citation");
    list.get_array().push_back(citation == nullptr ? json::value() : *citation);
  } else {
    // text_delta has `text`, thinking_delta `thinking`, signature_delta `signature`.
    for (const auto& member : *delta) {
      if (member.key() != "type" && member.value().is_string()) {
        append_text(block.value, member.key(), member.value().get_string());
      }
    }
  }
}

void AnthropicRaw::close(const json::object& event) {
  if (!message_) {
    return;
  }
  if (const json::object* delta = object_at(event, "delta")) {
    for (const auto& member : *delta) {
      (*message_)[member.key()] = member.value();
    }
  }
  if (const json::object* usage = object_at(event, "usage")) {
    json::value& told = (*message_)["usage"];
    if (!told.is_object()) {
      told = json::object();
    }
    for (const auto& member : *usage) {
      if (!member.value().is_null()) {
        told.get_object()[member.key()] = member.value();
      }
    }
  }
  ended_ = true;
}

std::optional<std::string> AnthropicRaw::body() const {
  if (!whole_.empty()) {
    return whole_;
  }
  if (!message_ || !ended_) {
    return std::nullopt;
  }
  json::object message = *message_;
  json::array content;
  for (const Block& block : blocks_) {
    json::object value = block.value;
    if (!block.input_json.empty()) {
      auto input = parse_json(block.input_json);
      if (!input) {
        return std::nullopt;
      }
      value["input"] = std::move(*input);
    }
    content.emplace_back(std::move(value));
  }
  message["content"] = std::move(content);
  return json::serialize(message);
}

}  // namespace genesis::server
