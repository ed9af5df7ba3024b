#include "net/sse.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::net {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Where the first line of `bytes` ends. Two memchr() beat one find_first_of() many times over.
std::size_t find_line_end(std::string_view bytes) {
  const std::size_t lf = bytes.find('\n');
  return std::min(bytes.substr(0, lf).find('\r'), lf);
}

}  // namespace

Result<std::vector<SseEvent>> SseReader::push(std::string_view bytes) {
  std::vector<SseEvent> events;
  if (failed_) {
    return fail(ErrorCode::kUpstream, "the event stream has failed already");
  }
  while (!bytes.empty()) {
    if (last_was_cr_ && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      last_was_cr_ = false;
      continue;
    }
    last_was_cr_ = false;
    const auto end = find_line_end(bytes);
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() + data_.size() > max_event_bytes_) {
      failed_ = true;
      return fail(ErrorCode::kUpstream,
                  fmt::format("an event of the stream is longer than {} bytes", max_event_bytes_));
    }
    line_.append(piece);
    if (end == std::string_view::npos) {
      break;
    }
    last_was_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    take_line(events);
  }
  return events;
}

void SseReader::take_line(std::vector<SseEvent>& events) {
  std::string_view line = line_;
  if (at_start_ && line.starts_with(kByteOrderMark)) {
    line.remove_prefix(kByteOrderMark.size());
  }
  at_start_ = false;
  if (line.empty()) {
    if (has_data_) {
      events.push_back({.event = std::move(event_), .data = std::move(data_)});
    }
    event_.clear();
    data_.clear();
    has_data_ = false;
    line_.clear();
    return;
  }
  const auto colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) {
    value.remove_prefix(1);
  }
  if (field == "data") {
    if (has_data_) {
      data_.push_back('\n');
    }
    data_.append(value);
    has_data_ = true;
  } else if (field == "event") {
    event_ = std::string(value);
  }
  line_.clear();
}

bool SseReader::has_partial_event() const {
  return !line_.empty() || has_data_;
}

std::string sse_frame(std::string_view data) {
  std::string frame;
  frame.reserve(data.size() + 8);
  for (;;) {
    const auto end = data.find_first_of("\r\n");
    frame.append("data: ").append(data.substr(0, end)).push_back('\n');
    if (end == std::string_view::npos) {
      break;
    }
    const bool pair = data.substr(end).starts_with("\r\n");
    data.remove_prefix(end + (pair ? 2 : 1));
  }
  frame.push_back('\n');
  return frame;
}

}  // namespace genesis::net
