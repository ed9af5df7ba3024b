// TeiProvider: Hugging Face text-embeddings-inference by its own routes (/embed, /rerank, /predict,
// /similarity) as a ChatModel for embedding.
#pragma once

#include "provider/upstream.h"

namespace genesis::provider {

// As dispatch_call(), with one delta that holds the whole answer (ChatDelta::embed). A client that
// speaks TEI gets its own bytes sent and the upstream's answer byte for byte; /v1/embeddings is
// asked as /embed. Usage is TEI's x-compute-tokens. kUnsupported for everything but embedding.
class TeiProvider final : public ChatModel {
 public:
  // `client` and `clock` (wall time, for dates in headers) outlive this object. Lives on the
  // client's io thread.
  TeiProvider(net::Client& client, const Clock& clock, UpstreamOptions options);
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

 private:
  net::Client& client_;
  const Clock& clock_;
  UpstreamOptions options_;
};

}  // namespace genesis::provider
