#include "server/write_embed.h"

#include "base/check.h"
#include "base/json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>

namespace genesis::server {

namespace {

const EmbedAnswer& embed_of(const CollectedAnswer& answer) {
  GENESIS_CHECK(answer.embed() != nullptr);
  return *answer.embed();
}

void write_floats(JsonWriter& w, const std::vector<float>& values) {
  w.begin_array();
  for (const float value : values) {
    w.number(value);
  }
  w.end_array();
}

// RFC 4648, of little-endian floats: what OpenAI's clients ask for and read faster.
std::string base64_of(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes(values.size() * sizeof(float));
  if (!bytes.empty()) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8U | (k < left ? bytes[i + k] : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out.push_back(k <= left ? kAlphabet[group >> (18U - 6U * k) & 63U] : '=');
    }
  }
  return out;
}

// Indexes by falling score; equal ones in the order asked.
std::vector<std::size_t> by_score(const std::vector<float>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  });
  return order;
}

void write_labels(JsonWriter& w, const std::vector<LabelScore>& labels) {
  w.begin_array();
  for (const LabelScore& each : labels) {
    w.begin_object();
    w.key("score");
    w.number(each.score);
    w.field("label", each.label);
    w.end_object();
  }
  w.end_array();
}

void write_ranks(JsonWriter& w, const InferenceCall& call, const std::vector<float>& scores) {
  w.begin_array();
  for (const std::size_t at : by_score(scores)) {
    w.begin_object();
    w.field("index", static_cast<std::int64_t>(at));
    if (call.wire.return_text) {
      w.field("text", call.request.input->embed->texts.at(at));
    }
    w.key("score");
    w.number(scores[at]);
    w.end_object();
  }
  w.end_array();
}

void write_vectors(JsonWriter& w, const std::vector<std::vector<float>>& vectors) {
  w.begin_array();
  for (const auto& vector : vectors) {
    write_floats(w, vector);
  }
  w.end_array();
}

void write_predictions(JsonWriter& w,
                       const InferenceCall& call,
                       const std::vector<std::vector<LabelScore>>& all) {
  if (call.wire.single && all.size() == 1) {
    write_labels(w, all.front());
    return;
  }
  w.begin_array();
  for (const auto& labels : all) {
    write_labels(w, labels);
  }
  w.end_array();
}

}  // namespace

std::string embeddings_body(const AnswerMeta& meta,
                            const ServedBy& served,
                            const CollectedAnswer& answer,
                            const Usage& usage) {
  if (auto native = answer.native_body()) {
    return *std::move(native);
  }
  JsonWriter w;
  w.begin_object();
  w.field("object", "list");
  w.key("data");
  w.begin_array();
  std::int64_t index = 0;
  for (const auto& vector : embed_of(answer).vectors) {
    w.begin_object();
    w.field("object", "embedding");
    w.field("index", index++);
    w.key("embedding");
    if (meta.call.wire.base64) {
      w.string(base64_of(vector));
    } else {
      write_floats(w, vector);
    }
    w.end_object();
  }
  w.end_array();
  w.field("model", served.model);
  w.key("usage");
  w.begin_object();
  w.field("prompt_tokens", usage.input);
  w.field("total_tokens", usage.input);
  w.end_object();
  w.end_object();
  return w.take();
}

std::string tei_answer_body(const AnswerMeta& meta,
                            const ServedBy&,
                            const CollectedAnswer& answer,
                            const Usage&) {
  if (auto native = answer.native_body()) {
    return *std::move(native);
  }
  const EmbedAnswer& embed = embed_of(answer);
  JsonWriter w;
  switch (meta.call.request.input->embed->task) {
    case EmbedTask::kEmbed:
      write_vectors(w, embed.vectors);
      break;
    case EmbedTask::kRerank:
      write_ranks(w, meta.call, embed.scores);
      break;
    case EmbedTask::kSimilarity:
      write_floats(w, embed.scores);
      break;
    case EmbedTask::kPredict:
      write_predictions(w, meta.call, embed.labels);
      break;
  }
  return w.take();
}

std::string rerank_body(const AnswerMeta& meta,
                        const ServedBy& served,
                        const CollectedAnswer& answer,
                        const Usage& usage) {
  const EmbedAnswer& embed = embed_of(answer);
  const std::vector<std::size_t> order = by_score(embed.scores);
  const auto most = static_cast<std::size_t>(meta.call.wire.top_n);
  JsonWriter w;
  w.begin_object();
  w.field("id", meta.id);
  w.field("model", served.model);
  w.key("results");
  w.begin_array();
  for (const std::size_t at :
       std::span(order).first(most == 0 ? order.size() : std::min(most, order.size()))) {
    w.begin_object();
    w.field("index", static_cast<std::int64_t>(at));
    w.key("relevance_score");
    w.number(embed.scores[at]);
    if (meta.call.wire.return_text) {
      w.key("document");
      w.begin_object();
      w.field("text", meta.call.request.input->embed->texts.at(at));
      w.end_object();
    }
    w.end_object();
  }
  w.end_array();
  w.key("usage");
  w.begin_object();
  w.field("prompt_tokens", usage.input);
  w.field("total_tokens", usage.input);
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace genesis::server
