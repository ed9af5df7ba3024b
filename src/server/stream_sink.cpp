#include "server/stream_sink.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace genesis::server {

namespace asio = boost::asio;

namespace {

using Timer = asio::steady_timer;
constexpr auto kWait = asio::as_tuple(asio::use_awaitable);

}  // namespace

// The one writer of a stream: deltas and keep-alive comments take turns. Shared with the timer
// coroutine, which may outlive the sink by one event-loop turn.
struct StreamSink::Channel {
  Channel(const StreamSettings& settings, net::ResponseWriter& writer)
      : response(writer),
        interval(settings.keep_alive),
        timer(settings.executor),
        turn(settings.executor) {
    turn.expires_at(Timer::time_point::max());
  }

  Task<Result<void>> write(std::string_view bytes) {
    while (writing) {
      co_await turn.async_wait(kWait);
    }
    writing = true;
    auto written = co_await response.write(bytes);
    writing = false;
    last_write = Timer::clock_type::now();
    turn.cancel();
    co_return written;
  }

  // Ends when closing is set, or when the client takes no more.
  static Task<void> keep_alive(std::shared_ptr<Channel> self) {
    while (!self->closing) {
      self->timer.expires_at(self->last_write + self->interval);
      co_await self->timer.async_wait(kWait);
      if (self->closing) {
        break;
      }
      const auto now = Timer::clock_type::now();
      if (self->writing) {
        self->last_write = now;
      } else if (now - self->last_write >= self->interval) {
        if (!co_await self->write(": keep-alive\n\n")) {
          break;
        }
      }
    }
    self->running = false;
    self->turn.cancel();
  }

  Task<void> stop() {
    closing = true;
    timer.cancel();
    while (running) {
      co_await turn.async_wait(kWait);
    }
  }

  net::ResponseWriter& response;
  std::chrono::milliseconds interval;
  Timer timer;
  Timer turn;  // never expires; cancelling it wakes whoever waits
  Timer::time_point last_write = Timer::clock_type::now();
  bool writing = false;
  bool closing = false;
  bool running = false;
};

StreamSink::StreamSink(const AnswerMeta& meta,
                       net::ResponseWriter& response,
                       const Clock& clock,
                       StreamSettings settings)
    : AnswerSink(meta.call.request.n, response, clock), settings_(std::move(settings)) {}

StreamSink::~StreamSink() {
  if (channel_) {
    channel_->closing = true;
    channel_->timer.cancel();
  }
}

Task<Result<void>> StreamSink::on_begin(const ServedBy& served) {
  format_->begin(served);
  const net::Headers headers = headers_(served);
  if (!co_await response_.start_stream(200, headers)) {
    co_return give_up();
  }
  channel_ = std::make_shared<Channel>(settings_, response_);
  channel_->running = true;
  asio::co_spawn(settings_.executor, Channel::keep_alive(channel_), asio::detached);
  co_return Result<void>();
}

Task<Result<void>> StreamSink::on_delta(const ChatDelta& delta) {
  GENESIS_CO_TRY(const std::string frames, format_->delta(delta));
  if (frames.empty()) {
    co_return Result<void>();
  }
  if (!channel_ || !co_await channel_->write(frames)) {
    co_return give_up();
  }
  co_return Result<void>();
}

Task<Result<void>> StreamSink::end(const Usage& usage) {
  const std::string frames = format_->end(usage);
  co_return co_await close_with(frames);
}

Task<Result<void>> StreamSink::end_with_error(const Error& error, std::string_view body) {
  const std::string frames = format_->cut(error, body);
  co_return co_await close_with(frames);
}

Task<void> StreamSink::abandon() {
  if (channel_) {
    co_await channel_->stop();
  }
}

Task<Result<void>> StreamSink::close_with(std::string_view frames) {
  if (!channel_) {
    co_return give_up();
  }
  co_await channel_->stop();
  if (!co_await channel_->write(frames) || !co_await response_.finish()) {
    co_return give_up();
  }
  co_return Result<void>();
}

}  // namespace genesis::server
