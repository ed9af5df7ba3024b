// One HTTP GET with redirects followed: the seam between pulling and the network.
#pragma once

#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/client.h"
#include "net/http.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::hub {

// A response whose head has arrived; redirects are behind it.
class Fetched {
 public:
  virtual ~Fetched() = default;
  virtual int status() const = 0;
  // A header of the final response; one that begins with "X-" else of the redirects that led to it
  // (the Hub tells a file's hash on the redirect, not at its storage).
  virtual std::optional<std::string> header(std::string_view name) const = 0;
  virtual const std::string& url() const = 0;  // the final one
  virtual Task<Result<std::optional<std::string>>> read_some() = 0;
};

struct FetchRequest {
  std::string url;  // http or https, absolute
  net::Headers headers;
  CancelToken cancel;
};

class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // kTimeout when nothing arrives for a while, also while the body is read. HTTP statuses are not
  // errors here.
  virtual Task<Result<std::unique_ptr<Fetched>>> get(FetchRequest request) = 0;
};

// Over the HTTP client: at most 5 redirects, never from https to http, Authorization dropped when
// the host changes (as huggingface_hub does).
std::unique_ptr<Fetcher> make_fetcher(net::Client& client);

// The body of a 200 response, at most `limit` bytes; other statuses become errors that name `what`.
Task<Result<std::string>> fetch_text(Fetcher& fetcher,
                                     FetchRequest request,
                                     std::size_t limit,
                                     std::string what);

// The error of a status that is not success: 401/403, 404, 429, 5xx told apart. `what` is what was
// asked for.
Error status_error(int status, std::string_view what, std::string_view url);

// `reference` (absolute, or relative as in RFC 3986) seen from `base`.
Result<std::string> resolve_url(std::string_view base, std::string_view reference);

}  // namespace genesis::hub
