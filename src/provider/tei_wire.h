// TEI's routes: request bytes and answers. Pure.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "provider/upstream.h"

#include <string>
#include <string_view>

namespace genesis::provider {

// "/embed", "/rerank", "/predict" or "/similarity".
std::string_view tei_target(EmbedTask task);

// `request` holds an EmbedInput: the client's own JSON if it speaks TEI, else written from that.
std::string tei_request_body(const ChatRequest& request);

// Reads one answer: vectors, scores in the order of the texts asked about, or labels.
class TeiReader final : public AnswerReader {
 public:
  // `request` and `clock` outlive the reader.
  TeiReader(const ChatRequest& request, std::string endpoint, const Clock& clock);

  Result<AnswerPart> read_event(net::SseEvent& event) override;
  Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) override;
  Error read_refusal(int status, const net::Headers& headers, std::string_view body) override;

 private:
  const ChatRequest& request_;
  std::string endpoint_;
  const Clock& clock_;
};

}  // namespace genesis::provider
