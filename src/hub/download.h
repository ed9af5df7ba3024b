// One file from a URL to the disk: resumed, retried, hashed on the way, kept only when the hash
// fits.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "hub/fetcher.h"
#include "net/http.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace genesis::hub {

struct DownloadRequest {
  std::string url;
  net::Headers headers;
  std::string sha256;      // expected; empty: the response's X-Linked-Etag decides if it has one
  std::int64_t bytes = 0;  // expected; 0 = unknown
  std::filesystem::path folder;  // for the unfinished file
  std::string key;   // names the unfinished file; the same content must give the same key
  std::string what;  // for messages: "model.gguf"
  std::chrono::milliseconds retry_pause{250};  // before the first repeat without progress; doubles
  CancelToken cancel;
};

struct Downloaded {
  std::filesystem::path path;
  std::string sha256;
  std::int64_t bytes = 0;
};

using ByteProgress = std::function<void(std::int64_t done, std::int64_t total)>;

// With a known hash the bytes of an earlier attempt, also of another process, are used again. A cut
// connection is tried again from where it broke, as long as bytes arrive. The result is synced to
// disk. kDataLoss: wrong hash or size; the unfinished file is deleted then.
Task<Result<Downloaded>> download(Fetcher& fetcher, DownloadRequest request, ByteProgress progress);

}  // namespace genesis::hub
