// Append-only journal: one write(2) per line, so lines of several threads do not mix.
#include "journal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"

#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace genesis::mock {

namespace {

// Bounds memory when a bench sends millions of requests; far above what a test sends.
constexpr std::size_t kKeptLines = 100'000;

}  // namespace

Result<void> Journal::open(Journal& journal, const std::string& path, bool sync) {
  journal.sync_ = sync;
  journal.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal.fd_ < 0) {
    return fail(ErrorCode::kIo, "cannot open journal " + path + ": " + std::strerror(errno));
  }
  return {};
}

Journal::~Journal() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

void Journal::append(const JournalLine& line) {
  const std::lock_guard lock(mutex_);
  JsonWriter w;
  w.begin_object();
  w.field("seq", static_cast<std::int64_t>(next_seq_++));
  w.field("attempt", line.attempt);
  w.field("traceparent", line.traceparent);
  w.field("dialect", line.dialect);
  w.field("model", line.model);
  w.field("path", line.path);
  w.field_bool("stream", line.stream);
  w.field("last_role", line.last_role);
  w.field("received_ms", line.received_ms);
  w.field("ended_ms", SystemClock().unix_ms());
  w.field("status", static_cast<std::int64_t>(line.status));
  w.field("prompt_tokens", line.prompt_tokens);
  w.field("completion_tokens", line.completion_tokens);
  w.field("cached_tokens", line.cached_tokens);
  w.field("cache_write_tokens", line.cache_write_tokens);
  w.field("reasoning_tokens", line.reasoning_tokens);
  w.field("outcome", line.outcome);
  w.field("fault", line.fault);
  w.end_object();
  std::string text = w.take();
  if (fd_ >= 0) {
    text += '\n';
    const auto written = ::write(fd_, text.data(), text.size());
    // A journal that cannot be written is no oracle: stop instead of judging others by it.
    GENESIS_CHECK(written == static_cast<ssize_t>(text.size()));
    GENESIS_CHECK(!sync_ || ::fdatasync(fd_) == 0);
    text.pop_back();
  }
  lines_.push_back(std::move(text));
  if (lines_.size() > kKeptLines) {
    lines_.pop_front();
  }
}

std::string Journal::dump() const {
  const std::lock_guard lock(mutex_);
  std::string out = "[";
  for (const auto& line : lines_) {
    out += out.size() == 1 ? "" : ",\n";
    out += line;
  }
  return out + "]";
}

}  // namespace genesis::mock
