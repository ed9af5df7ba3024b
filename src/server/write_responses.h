// Answers of /v1/responses: the response object, whole or as a stream of typed, numbered events.
#pragma once

#include "server/answer.h"

#include <memory>
#include <string>

namespace genesis::server {

std::string response_body(const AnswerMeta& meta,
                          const ServedBy& served,
                          const CollectedAnswer& answer,
                          const Usage& usage);

std::unique_ptr<StreamFormat> make_response_stream(const AnswerMeta& meta);

}  // namespace genesis::server
