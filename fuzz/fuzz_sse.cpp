// Fuzzes the event-stream reader: any split gives the same events, and frames read back as written.
#include "net/sse.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using genesis::net::SseEvent;
using genesis::net::SseReader;

constexpr std::size_t kMaxEvent = 256;

struct Seen {
  std::vector<std::string> events;
  bool failed = false;
  bool partial = false;

  bool operator==(const Seen&) const = default;
};

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

void take(Seen& seen, const std::vector<SseEvent>& events) {
  for (const SseEvent& event : events) {
    require(event.data.size() <= kMaxEvent && event.event.size() <= kMaxEvent);
    seen.events.push_back(event.event + '\0' + event.data);
  }
}

Seen feed(std::string_view bytes, std::size_t piece) {
  Seen seen;
  SseReader reader(kMaxEvent);
  while (!bytes.empty()) {
    const auto events = reader.push(bytes.substr(0, piece));
    if (!events) {
      seen.failed = true;
      return seen;
    }
    take(seen, *events);
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  seen.partial = reader.has_partial_event();
  return seen;
}

// Line ends of any kind arrive as '\n'.
std::string normalised(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool pair = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (!pair) {
      out.push_back(text[i] == '\r' ? '\n' : text[i]);
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Seen whole = feed(bytes, size + 1);
  const Seen single = feed(bytes, 1);
  require(whole.failed == single.failed);
  if (!whole.failed) {
    require(whole == single && whole == feed(bytes, 3));
  }
  SseReader reader;
  const auto events = reader.push(genesis::net::sse_frame(bytes));
  require(events && events->size() == 1 && events->front().data == normalised(bytes));
  return 0;
}
