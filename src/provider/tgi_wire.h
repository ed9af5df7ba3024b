// TGI's native routes: request bytes and answers. Pure.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "provider/upstream.h"

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>

namespace genesis::provider {

// The same body for both routes.
Result<std::string> tgi_request_body(const ChatRequest& request, const UpstreamOptions& options);

// Reads one answer. The text of special tokens is no part of the answer's text; the tokens are told
// with id and logprob. A client that speaks TGI and asked for details gets the upstream's JSON.
class TgiReader final : public AnswerReader {
 public:
  // `request` and `clock` outlive the reader.
  TgiReader(const ChatRequest& request, std::string endpoint, const Clock& clock);

  Result<AnswerPart> read_event(net::SseEvent& event) override;
  Result<AnswerPart> read_body(std::string& body, const net::Headers& headers) override;
  Error read_refusal(int status, const net::Headers& headers, std::string_view body) override;

 private:
  Result<AnswerPart> read_token_event(const boost::json::object& event);
  void hold_stop(ChatDelta& delta);
  Result<AnswerPart> read_whole(const boost::json::object& body, const net::Headers& headers);
  Result<FinishReason> read_finish(const boost::json::object& details) const;

  const ChatRequest& request_;
  std::string endpoint_;
  const Clock& clock_;
  bool raw_ = false;
  std::string held_;  // the end of the text, as long as it may become a stop string
};

}  // namespace genesis::provider
