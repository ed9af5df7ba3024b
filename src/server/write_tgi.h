// TGI response objects: {generated_text, details?} and the events of /generate_stream.
// Source: text-generation-inference router/src/{lib,server}.rs.
#pragma once

#include "api/chat.h"
#include "server/answer.h"

#include <memory>
#include <string>
#include <vector>

namespace genesis::server {

// The tokens behind a delta with texts that add up to delta.text, so that a client which joins the
// texts of the non-special tokens gets generated_text. An upstream that tells no tokens gives one
// record with id -1; a lone special token keeps its own text.
std::vector<TokenInfo> tgi_tokens(const ChatDelta& delta);

// One object; POST / wraps it into an array.
std::string tgi_body(const AnswerMeta& meta, const CollectedAnswer& answer, const Usage& usage);

// Holds the event that finishes the answer back until the usage is known.
std::unique_ptr<StreamFormat> make_tgi_stream(const AnswerMeta& meta);

}  // namespace genesis::server
