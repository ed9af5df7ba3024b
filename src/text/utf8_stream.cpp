#include "text/utf8_stream.h"

#include "text/unicode.h"

#include <utility>

namespace genesis::text {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  // The longest beginning that later bytes cannot change: all but a cut character at the end, which
  // is at most three bytes.
  std::size_t whole = pending_.size();
  for (std::size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
    const std::size_t at = pending_.size() - back;
    if ((static_cast<unsigned char>(pending_[at]) & 0xC0) == 0x80) {
      continue;
    }
    if (utf8_step(std::string_view(pending_).substr(at)).kind == Utf8Step::Kind::kIncomplete) {
      whole = at;
    }
    break;
  }
  std::string out = to_valid_utf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return out;
}

std::string Utf8Stream::flush() {
  return to_valid_utf8(std::exchange(pending_, {}));
}

}  // namespace genesis::text
