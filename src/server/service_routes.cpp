#include "server/service_routes.h"

#include "base/json.h"
#include "server/access.h"
#include "server/parse_tgi.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::server {

namespace {

void write_card(JsonWriter& w, const ModelCard& card) {
  w.begin_object();
  w.field("id", card.id);
  w.field("object", "model");
  w.field("created", card.created_unix);
  w.field("owned_by", card.owned_by);
  w.field("kind", card.kind);
  if (card.max_context > 0) {
    w.field("max_model_len", card.max_context);  // vLLM's name for it
  }
  w.end_object();
}

void string_or_null(JsonWriter& w, std::string_view key, const std::string& value) {
  if (value.empty()) {
    w.field_null(key);
  } else {
    w.field(key, value);
  }
}

}  // namespace

Task<void> serve_root(const GatewayOptions& options, Exchange& x) {
  JsonWriter w;
  w.begin_object();
  w.field("service", "genesis");
  w.field("version", options.version);
  w.field("openai_base_url", "/v1");
  w.field("models", "/v1/models");
  w.field("health", "/health");
  w.end_object();
  co_await send_json(x, 200, w.str());
}

Task<void> serve_health(Exchange& x) {
  co_await send_json(x, 200, R"({"status":"ok"})");
}

Task<void> serve_ready(const GatewayPorts& ports, Exchange& x) {
  const Readiness readiness = ports.readiness();
  JsonWriter w;
  w.begin_object();
  w.field_bool("ready", readiness.reasons.empty());
  w.key("reasons");
  w.begin_array();
  for (const std::string& reason : readiness.reasons) {
    w.string(reason);
  }
  w.end_array();
  w.end_object();
  co_await send_json(x, readiness.reasons.empty() ? 200 : 503, w.str());
}

Task<void> serve_metrics(const GatewayPorts& ports, Exchange& x) {
  x.record.status = 200;
  const net::Headers headers = response_headers(x, "text/plain; version=0.0.4; charset=utf-8");
  const std::string text = ports.metrics.expose();
  (void)co_await x.response.send(200, headers, text);
}

Task<void> serve_info(const GatewayOptions& options, const GatewayPorts& ports, Exchange& x) {
  const ServiceInfo info = ports.info();
  JsonWriter w;
  w.begin_object();
  w.field("model_id", info.model_id);
  string_or_null(w, "model_sha", info.model_sha);
  string_or_null(w, "model_dtype", info.model_dtype);
  w.field("model_device_type", "cpu");
  w.field("model_pipeline_tag", "text-generation");
  w.field("max_concurrent_requests", info.max_concurrent_requests);
  w.field("max_best_of", std::int64_t{1});
  w.field("max_stop_sequences", std::int64_t{kTgiMaxStopSequences});
  w.field("max_input_tokens", info.max_input_tokens);
  w.field("max_total_tokens", info.max_total_tokens);
  string_or_null(w, "isa", info.isa);  // ours: the kernel tier in use
  string_or_null(w, "kv_format", info.kv_format);
  w.field("validation_workers", std::int64_t{1});
  w.field("max_client_batch_size", std::int64_t{1});
  w.field("router", "genesis");
  w.field("version", options.version);
  w.field_null("sha");
  w.field_null("docker_label");
  w.end_object();
  co_await send_json(x, 200, w.str());
}

Task<void> serve_models(const GatewayPorts& ports, Exchange& x) {
  JsonWriter w;
  w.begin_object();
  w.field("object", "list");
  w.key("data");
  w.begin_array();
  for (const ModelCard& card : ports.catalog.models()) {
    if (check_model_scope(x.principal, card.id)) {
      write_card(w, card);
    }
  }
  w.end_array();
  w.end_object();
  co_await send_json(x, 200, w.str());
}

Task<void> serve_model(const GatewayPorts& ports, Exchange& x, std::string_view id) {
  const auto cards = ports.catalog.models();
  const auto card = std::ranges::find(cards, id, &ModelCard::id);
  // A name outside the key's scope is answered like one that does not exist.
  if (card == cards.end() || !check_model_scope(x.principal, id)) {
    Error error;
    error.code = ErrorCode::kNotFound;
    error.param = "model";
    error.message = fmt::format("no model '{}' is served here", id);
    error.hint = "GET /v1/models lists the names";
    co_await send_error(x, error);
    co_return;
  }
  JsonWriter w;
  write_card(w, *card);
  co_await send_json(x, 200, w.str());
}

}  // namespace genesis::server
