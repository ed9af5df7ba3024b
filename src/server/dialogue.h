// What the inference routes differ in: how a request is read and how its answer is written.
#pragma once

#include "server/answer.h"
#include "server/call.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace genesis::server {

enum class InferenceRoute : std::uint8_t {
  kChat,
  kCompletion,
  kTgiCompat,  // POST /: an array of one, or an event stream
  kTgiGenerate,
  kTgiGenerateStream,
  kMessages,
  kResponses,
  kEmbeddings,
  kTeiEmbed,
  kTeiRerank,
  kTeiPredict,
  kTeiSimilarity,
  kRerank,
};

struct Dialogue {
  InferenceRoute route;
  Result<InferenceCall> (*parse)(std::string_view body);
  std::string (*whole)(const AnswerMeta& meta,
                       const ServedBy& served,
                       const CollectedAnswer& answer,
                       const Usage& usage);
  std::unique_ptr<StreamFormat> (*stream)(const AnswerMeta& meta);  // null: never streamed
  std::string_view id_prefix;                                       // of the answer
  std::string_view prompt_field;  // where the text is that can be too long
};

const Dialogue& dialogue_of(InferenceRoute route);

}  // namespace genesis::server
