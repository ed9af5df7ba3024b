// Fuzzes the readers of vectors, scores and labels: TEI's four routes and /v1/embeddings. What is
// accepted has a finite result for each of the two texts.
#include "provider/openai_embed.h"
#include "provider/tei_wire.h"
#include "upstream_promises.h"

#include <cmath>
#include <cstdint>
#include <memory>

namespace {

using namespace genesis;

ChatRequest ask(Dialect dialect, EmbedTask task) {
  ChatRequest request;
  request.dialect = dialect;
  auto input = std::make_shared<ChatInput>();
  input->embed = EmbedInput{.task = task, .texts = {"a", "b"}};
  request.input = std::move(input);
  return request;
}

void check_answer(provider::AnswerReader& reader, std::string_view bytes) {
  std::string body(bytes);
  const auto part = reader.read_body(body, net::Headers());
  if (!part || part->error) {
    return;
  }
  fuzz::require(part->deltas.size() == 1 && part->deltas.front().embed != nullptr);
  const EmbedAnswer& answer = *part->deltas.front().embed;
  fuzz::require(answer.vectors.size() + answer.scores.size() + answer.labels.size() == 2);
  for (const auto& vector : answer.vectors) {
    fuzz::require(!vector.empty());
    for (const float number : vector) {
      fuzz::require(std::isfinite(number));
    }
  }
  for (const float score : answer.scores) {
    fuzz::require(std::isfinite(score));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const SystemClock clock;
  for (const EmbedTask task :
       {EmbedTask::kEmbed, EmbedTask::kRerank, EmbedTask::kPredict, EmbedTask::kSimilarity}) {
    const ChatRequest request = ask(Dialect::kTei, task);
    provider::TeiReader reader(request, "up", clock);
    check_answer(reader, bytes);
  }
  const ChatRequest request = ask(Dialect::kEmbeddings, EmbedTask::kEmbed);
  provider::OpenAiEmbedReader reader(request, "up", clock);
  check_answer(reader, bytes);
  return 0;
}
