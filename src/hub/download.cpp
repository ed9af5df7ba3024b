// The download loop: attempts that go on where the last one broke, one running hash over all of
// them.
#include "hub/download.h"

#include "base/sha256.h"
#include "hub/disk.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

namespace genesis::hub {

namespace {

constexpr int kFruitlessAttempts = 4;  // in a row without one new byte
constexpr int kMaxAttempts = 10'000;   // a link that breaks every few kilobytes still arrives
constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 40;
constexpr std::int64_t kProgressStep = 1024 * 1024;

// The hash in a header such as "\"<64 hex>\"" (huggingface_hub strips quotes and W/ alike); "" if
// none.
std::string linked_sha256(const std::optional<std::string>& header) {
  if (!header) {
    return {};
  }
  std::string_view text = *header;
  text = text.starts_with("W/") ? text.substr(2) : text;
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  const bool good =
      text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return good ? std::string(text) : std::string();
}

// N of "bytes N-M/T"; -1 when the header is something else.
std::int64_t range_begin(const std::optional<std::string>& header) {
  constexpr std::string_view kUnit = "bytes ";
  std::int64_t begin = -1;
  if (header && header->starts_with(kUnit)) {
    std::from_chars(header->data() + kUnit.size(), header->data() + header->size(), begin);
  }
  return begin;
}

std::int64_t content_length(const Fetched& response) {
  std::int64_t length = 0;
  if (const auto header = response.header("Content-Length")) {
    std::from_chars(header->data(), header->data() + header->size(), length);
  }
  return length > 0 ? length : 0;
}

bool worth_another_try(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimeout ||
         error.code == ErrorCode::kRateLimited;
}

class Transfer {
 public:
  Transfer(Fetcher& fetcher,
           const DownloadRequest& request,
           const ByteProgress& progress,
           OutputFile file)
      : fetcher_(fetcher), request_(request), progress_(progress), file_(std::move(file)) {}

  std::int64_t size() const { return file_.size(); }

  Result<void> take_over(const std::filesystem::path& path) {
    if (request_.bytes > 0 && file_.size() > request_.bytes) {
      return restart();
    }
    GENESIS_TRY(const auto bytes, feed_file(path, hash_));
    return bytes == file_.size() ? Result<void>{} : restart();
  }

  Result<void> restart() {
    hash_ = Sha256();
    return file_.clear();
  }

  bool complete() const { return request_.bytes > 0 && file_.size() == request_.bytes; }

  // One GET from the present end of the file to the end of the body.
  Task<Result<void>> attempt() {
    FetchRequest get{.url = request_.url, .headers = request_.headers, .cancel = request_.cancel};
    get.headers.set("Accept-Encoding", "identity");
    if (file_.size() > 0) {
      get.headers.set("Range", fmt::format("bytes={}-", file_.size()));
    }
    GENESIS_CO_TRY(const auto response, co_await fetcher_.get(std::move(get)));
    GENESIS_CO_TRY_VOID(accept_head(*response));
    if (response->status() == 416) {
      co_return Result<void>{};
    }
    const std::int64_t length = content_length(*response);
    const std::int64_t total = request_.bytes > 0 ? request_.bytes
                               : length > 0       ? size() + length
                                                  : 0;
    std::int64_t reported = -kProgressStep;
    for (;;) {
      GENESIS_CO_TRY(const auto piece, co_await response->read_some());
      if (!piece) {
        break;
      }
      GENESIS_CO_TRY_VOID(take(*piece));
      if (size() - reported >= kProgressStep) {
        reported = size();
        progress_(size(), total);
      }
    }
    progress_(size(), total);
    if (request_.bytes > 0 && size() < request_.bytes) {
      // A proper end, not a cut: asking again would give the same.
      co_return fail(
          ErrorCode::kUpstream,
          fmt::format("{} has {} bytes; {} are published", request_.what, size(), request_.bytes),
          "run the same command again; suspect the mirror or proxy if it repeats");
    }
    co_return Result<void>{};
  }

  // Syncs and compares; the hash of the file if it is right.
  Result<std::string> finish() {
    std::string actual = to_hex(hash_.finish());
    const std::string& wanted = request_.sha256.empty() ? linked_ : request_.sha256;
    if (!wanted.empty() && actual != wanted) {
      return fail(
          ErrorCode::kDataLoss,
          fmt::format("{} has SHA-256 {}, but {} is published", request_.what, actual, wanted),
          "nothing was installed; try again, and suspect the mirror or proxy if it repeats");
    }
    GENESIS_TRY_VOID(file_.sync());
    return actual;
  }

 private:
  Result<void> accept_head(const Fetched& response) {
    const int status = response.status();
    if (status == 416 && request_.bytes > 0) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("{}: the server's file ends before byte {}", request_.what, size()));
    }
    if (status == 416) {
      return {};  // of unknown size and whole already; the hash will tell
    }
    if (status != 200 && status != 206) {
      return std::unexpected(status_error(status, request_.what, response.url()));
    }
    const bool continues = status == 206 && range_begin(response.header("Content-Range")) == size();
    if (status == 206 && !continues) {
      return fail(ErrorCode::kUpstream,
                  fmt::format("{}: the server sent another range than asked", request_.what));
    }
    if (!continues && size() > 0) {
      GENESIS_TRY_VOID(restart());
    }
    linked_ = linked_sha256(response.header("X-Linked-Etag"));
    if (!linked_.empty() && !request_.sha256.empty() && linked_ != request_.sha256) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("{} changed on the server since it was looked up", request_.what),
                  "run the same command again");
    }
    return {};
  }

  Result<void> take(std::string_view piece) {
    const std::int64_t limit = request_.bytes > 0 ? request_.bytes : kMaxFileBytes;
    if (std::cmp_greater(piece.size(), limit - size())) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("{} is longer than the {} bytes expected", request_.what, limit));
    }
    GENESIS_TRY_VOID(
        file_.write({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()}));
    hash_.update(piece);
    return {};
  }

  Fetcher& fetcher_;
  const DownloadRequest& request_;
  const ByteProgress& progress_;
  OutputFile file_;
  Sha256 hash_;
  std::string linked_;
};

Task<void> pause(std::chrono::milliseconds time) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, time);
  boost::system::error_code ignored;  // only our own cancellation could end it early
  co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
}

Result<void> check_room(const DownloadRequest& request, std::int64_t have) {
  std::error_code code;
  const auto space = std::filesystem::space(request.folder, code);
  if (!code && request.bytes > have && std::cmp_less(space.available, request.bytes - have)) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("{} needs {} more bytes; the disk of {} has {} left",
                            request.what,
                            request.bytes - have,
                            request.folder.string(),
                            space.available),
                "free some disk space, then run the same command: it goes on where it stopped");
  }
  return {};
}

// Attempts until the body has ended properly.
Task<Result<void>> run_attempts(Transfer& transfer, const DownloadRequest& request) {
  int fruitless = 0;
  std::int64_t furthest = transfer.size();
  for (int i = 0; i < kMaxAttempts && !transfer.complete(); ++i) {
    auto done = co_await transfer.attempt();
    if (done) {
      co_return Result<void>{};
    }
    // A server that starts over each time must not look like progress.
    fruitless = transfer.size() > furthest ? 0 : fruitless + 1;
    furthest = std::max(furthest, transfer.size());
    if (!worth_another_try(done.error()) || fruitless == kFruitlessAttempts ||
        request.cancel.cancelled()) {
      co_return done;
    }
    if (request.sha256.empty()) {
      // Without a known hash nothing ties the old bytes to the next answer.
      GENESIS_CO_TRY_VOID(transfer.restart());
    }
    if (fruitless > 0) {
      co_await pause(request.retry_pause * (1 << (fruitless - 1)));
    }
  }
  if (!transfer.complete()) {
    co_return fail(ErrorCode::kUnavailable,
                   fmt::format("{}: the connection keeps breaking", request.what));
  }
  co_return Result<void>{};
}

}  // namespace

Task<Result<Downloaded>> download(Fetcher& fetcher,
                                  DownloadRequest request,
                                  ByteProgress progress) {
  const std::filesystem::path path = request.folder / (request.key + ".partial");
  const bool resumable = !request.sha256.empty();
  GENESIS_CO_TRY(auto file, OutputFile::open(path, !resumable));
  Transfer transfer(fetcher, request, progress, std::move(file));
  GENESIS_CO_TRY_VOID(transfer.take_over(path));
  GENESIS_CO_TRY_VOID(check_room(request, transfer.size()));
  bool old_bytes = transfer.size() > 0;
  for (;;) {
    auto done = co_await run_attempts(transfer, request);
    auto digest = done ? transfer.finish() : Result<std::string>(std::unexpected(done.error()));
    if (digest) {
      co_return Downloaded{.path = path, .sha256 = *digest, .bytes = transfer.size()};
    }
    if (digest.error().code != ErrorCode::kDataLoss) {
      co_return std::unexpected(digest.error());
    }
    if (!old_bytes) {
      std::error_code
          ignored;  // already failing; a leftover is found and replaced by the next pull
      std::filesystem::remove(path, ignored);
      co_return std::unexpected(digest.error());
    }
    // The damage may sit in the bytes kept from an earlier process: once more, from the start.
    old_bytes = false;
    GENESIS_CO_TRY_VOID(transfer.restart());
  }
}

}  // namespace genesis::hub
