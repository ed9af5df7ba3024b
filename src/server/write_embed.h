// Answers of the dialects of embedding: OpenAI's list of embeddings, TEI's bare arrays, and the
// results of /v1/rerank.
#pragma once

#include "server/answer.h"

#include <memory>
#include <string>

namespace genesis::server {

std::string embeddings_body(const AnswerMeta& meta,
                            const ServedBy& served,
                            const CollectedAnswer& answer,
                            const Usage& usage);
// Of whichever of TEI's routes was asked.
std::string tei_answer_body(const AnswerMeta& meta,
                            const ServedBy& served,
                            const CollectedAnswer& answer,
                            const Usage& usage);
std::string rerank_body(const AnswerMeta& meta,
                        const ServedBy& served,
                        const CollectedAnswer& answer,
                        const Usage& usage);

}  // namespace genesis::server
