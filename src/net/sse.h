// Server-sent events, reading side (WHATWG HTML section 9.2.6): bytes in, events out, any split of
// the bytes gives the same events. Writing side: ready-made frames.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::net {

struct SseEvent {
  std::string event;  // empty = "message"
  std::string data;   // data lines joined by '\n'
};

// Push parser with a bounded memory; `id` and `retry` fields are ignored. Not thread-safe.
class SseReader {
 public:
  // A longer line or event is an error (kUpstream) and ends the stream.
  explicit SseReader(std::size_t max_event_bytes = 8 * 1024 * 1024)
      : max_event_bytes_(max_event_bytes) {}

  Result<std::vector<SseEvent>> push(std::string_view bytes);
  // True when bytes of an unfinished event are held: a stream that ends now was cut.
  bool has_partial_event() const;

 private:
  void take_line(std::vector<SseEvent>& events);

  std::size_t max_event_bytes_;
  std::string line_;
  std::string data_;
  std::string event_;
  bool has_data_ = false;
  bool last_was_cr_ = false;
  bool at_start_ = true;
  bool failed_ = false;
};

// "data: " + each line + "\n\n".
std::string sse_frame(std::string_view data);

}  // namespace genesis::net
