// What every reader of upstream answers promises, checked by its fuzz target: the same deltas for
// any split of the stream, nothing that a client could not be sent, no crash.
#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "net/sse.h"
#include "provider/upstream.h"

#include <boost/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::fuzz {

inline void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) {
      return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

inline void check_delta(const ChatDelta& delta, const ChatRequest& request) {
  require(delta.index >= 0 && delta.index < std::max(request.n, 1));
  require(is_utf8(delta.text) && is_utf8(delta.reasoning));
  if (!delta.tool_calls_json.empty()) {
    const auto calls = parse_json(delta.tool_calls_json);
    require(calls && calls->is_array());
  }
  if (!delta.raw.empty()) {
    require(parse_json(delta.raw).has_value());
    require(!request.stream || delta.raw.find_first_of("\r\n") == std::string::npos);
  }
}

inline void check_usage(const std::optional<Usage>& usage) {
  if (usage) {
    require(usage->input >= 0 && usage->output >= 0 && usage->cached_input >= 0 &&
            usage->cache_write >= 0 && usage->reasoning >= 0);
  }
}

// What one reading of `bytes` said, as lines.
template <typename MakeReader>
std::vector<std::string> read_stream(std::string_view bytes,
                                     std::size_t piece,
                                     const ChatRequest& request,
                                     const MakeReader& make_reader) {
  std::vector<std::string> lines;
  net::SseReader sse(4096);
  auto reader = make_reader(request);
  while (!bytes.empty()) {
    auto events = sse.push(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    if (!events) {
      return {"too long"};
    }
    for (net::SseEvent& event : *events) {
      const auto part = reader.read_event(event);
      if (!part) {
        require(part.error().code == ErrorCode::kUpstream && is_utf8(part.error().message));
        lines.push_back("error " + part.error().message);
        return lines;
      }
      check_usage(part->usage);
      for (const ChatDelta& delta : part->deltas) {
        check_delta(delta, request);
        lines.push_back(delta.text + "|" + delta.reasoning + "|" + delta.tool_calls_json + "|" +
                        delta.raw + (delta.finish ? "." : ""));
      }
      if (part->error || part->end) {
        lines.emplace_back(part->end ? "end" : "told error");
        return lines;
      }
    }
  }
  return lines;
}

// `make_reader(request)` gives a reader by value.
template <typename MakeReader>
void check_stream(std::string_view bytes, ChatRequest request, const MakeReader& make_reader) {
  request.stream = true;
  const auto whole = read_stream(bytes, bytes.size() + 1, request, make_reader);
  const auto single = read_stream(bytes, 1, request, make_reader);
  // A stream that breaks a limit does so at another place when it comes in other pieces.
  const auto broken = [](const auto& lines) {
    return !lines.empty() && lines.back() == "too long";
  };
  require(broken(whole) || broken(single) || whole == single);
}

template <typename MakeReader>
void check_body(std::string_view bytes, ChatRequest request, const MakeReader& make_reader) {
  request.stream = false;
  auto reader = make_reader(request);
  std::string body(bytes);
  const auto part = reader.read_body(body, net::Headers());
  if (!part) {
    require(part.error().code == ErrorCode::kUpstream);
    return;
  }
  check_usage(part->usage);
  for (const ChatDelta& delta : part->deltas) {
    check_delta(delta, request);
  }
}

}  // namespace genesis::fuzz
