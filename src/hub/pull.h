// Brings a model into the store: finds it, downloads with resume, verifies every byte, admits it.
#pragma once

#include "base/cancel.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"
#include "hub/model_store.h"
#include "hub/settings.h"
#include "net/client.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace genesis::hub {

class Fetcher;

struct PullRequest {
  std::string reference;  // see hub/source.h; empty = the default model
  std::string name;       // in the store; empty = derived from the source
  HubSettings settings;
  CancelToken cancel;
};

// Called as work goes on, at most about once per MiB. `phase` is a short human text such as
// "downloading model.gguf"; `bytes_total` is 0 when unknown. Runs on the caller's thread.
using ProgressFn =
    std::function<void(std::string_view phase, std::int64_t bytes_done, std::int64_t bytes_total)>;

// A model already there in the wanted revision is returned without a download. Runs on the client's
// thread, which it blocks while hashing and unpacking: meant for a process of its own (the CLI).
// Errors: kInvalidArgument (reference), kNotFound (no such model, file or version), kUnavailable
// and kTimeout (the bytes so far are kept, the next pull goes on from there), kDataLoss (hash,
// archive or weights file; nothing is installed), kUnsupported (format), kResourceExhausted (disk
// full).
Task<Result<InstalledModel>> pull(PullRequest request,
                                  ModelStore& store,
                                  net::Client& client,
                                  ProgressFn progress);

// The same over any way to fetch; tests script one.
Task<Result<InstalledModel>> pull(PullRequest request,
                                  ModelStore& store,
                                  Fetcher& fetcher,
                                  const Clock& clock,
                                  ProgressFn progress);

}  // namespace genesis::hub
