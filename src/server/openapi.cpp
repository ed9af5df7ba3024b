#include "server/openapi.h"

#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

namespace genesis::server {

namespace {

struct RouteDoc {
  std::string_view method;
  std::string_view path;
  std::string_view summary;
  std::string_view request = {};   // schema of the body; empty = none
  std::string_view response = {};  // schema of 200; empty = any JSON
  bool streams = false;            // may answer with server-sent events
};

// Routes without a row here are in the document all the same, with their name as the summary.
constexpr std::array kDocs = {
    RouteDoc{"GET", "/health", "200 while the process answers", {}, "Health"},
    RouteDoc{"GET", "/ping", "The same as /health", {}, "Health"},
    RouteDoc{"GET", "/ready", "200 when requests can be served, 503 with the reasons", {}, "Ready"},
    RouteDoc{"GET", "/metrics", "Prometheus text"},
    RouteDoc{"GET", "/openapi.json", "This document"},
    RouteDoc{"GET", "/", "Names the service"},
    RouteDoc{"GET", "/info", "What is served, in the fields of text-generation-inference"},
    RouteDoc{"GET", "/v1/models", "The names this key may use", {}, "ModelList"},
    RouteDoc{"GET", "/v1/models/{id}", "One model", {}, "Model"},
    RouteDoc{"POST", "/v1/chat/completions", "OpenAI chat", "ChatRequest", "ChatAnswer", true},
    RouteDoc{
        "POST", "/v1/completions", "OpenAI completions", "CompletionRequest", "Completion", true},
    RouteDoc{"POST", "/v1/responses", "OpenAI responses", "AnyObject", "AnyObject", true},
    RouteDoc{"POST", "/v1/embeddings", "OpenAI embeddings", "AnyObject", "AnyObject"},
    RouteDoc{"POST", "/v1/messages", "Anthropic messages", "AnyObject", "AnyObject", true},
    RouteDoc{"POST",
             "/v1/messages/count_tokens",
             "Tokens of an Anthropic request",
             "AnyObject",
             "AnyObject"},
    RouteDoc{"POST", "/v1/rerank", "Documents by relevance", "AnyObject", "AnyObject"},
    RouteDoc{"POST", "/embed", "text-embeddings-inference: vectors", "TeiRequest"},
    RouteDoc{"POST", "/rerank", "text-embeddings-inference: texts by relevance", "TeiRequest"},
    RouteDoc{"POST", "/predict", "text-embeddings-inference: classes", "TeiRequest"},
    RouteDoc{"POST", "/similarity", "text-embeddings-inference: sentence pairs", "TeiRequest"},
    RouteDoc{"POST", "/", "text-generation-inference, either form", "TgiRequest", {}, true},
    RouteDoc{"POST", "/generate", "text-generation-inference, whole", "TgiRequest", "TgiAnswer"},
    RouteDoc{
        "POST", "/generate_stream", "text-generation-inference, streamed", "TgiRequest", {}, true},
    RouteDoc{"POST",
             "/v1/load_lora_adapter",
             "Adds an adapter to a model that is being served",
             "AnyObject",
             "AnyObject"},
    RouteDoc{"POST", "/v1/unload_lora_adapter", "Takes it away again", "AnyObject", "AnyObject"},
    RouteDoc{"GET", "/admin/config", "The configuration in force and where it came from"},
    RouteDoc{"POST", "/admin/reload", "Reads the configuration again", {}, "Generation"},
    RouteDoc{"GET", "/admin/endpoints", "The endpoints and how they are doing"},
    RouteDoc{"GET", "/admin/savings", "What was spent and what it would have cost"},
    RouteDoc{"GET", "/admin/probe", "One token through the default route, or ?model="},
};

// JSON Schema of the bodies. What clients may send beyond these fields passes on unchanged, so the
// objects stay open.
constexpr std::string_view kSchemas = R"({
"AnyObject":{"type":"object"},
"Error":{"type":"object","required":["error"],"properties":{"error":{"type":"object",
"required":["message","type","param","code"],"properties":{"message":{"type":"string"},
"type":{"type":"string"},"param":{"type":["string","null"]},"code":{"type":["string","null"]},
"hint":{"type":"string"},"request_id":{"type":"string"}}}}},
"TgiError":{"type":"object","required":["error","error_type"],"properties":{
"error":{"type":"string"},"error_type":{"type":"string"}}},
"Health":{"type":"object","required":["status"],"properties":{"status":{"type":"string"}}},
"Ready":{"type":"object","required":["ready","reasons"],"properties":{
"ready":{"type":"boolean"},"reasons":{"type":"array","items":{"type":"string"}}}},
"Generation":{"type":"object","required":["generation"],
"properties":{"generation":{"type":"integer"}}},
"Model":{"type":"object","required":["id","object","created","owned_by"],"properties":{
"id":{"type":"string"},"object":{"type":"string"},"created":{"type":"integer"},
"owned_by":{"type":"string"},"kind":{"type":"string"},"max_model_len":{"type":"integer"}}},
"ModelList":{"type":"object","required":["object","data"],"properties":{
"object":{"type":"string"},"data":{"type":"array",
"items":{"$ref":"#/components/schemas/Model"}}}},
"Message":{"type":"object","required":["role"],"properties":{"role":{"type":"string"},
"content":{"type":["string","array","null"]},"name":{"type":"string"},
"tool_call_id":{"type":"string"},"tool_calls":{"type":"array"}}},
"ChatRequest":{"type":"object","required":["messages"],"properties":{
"model":{"type":"string","default":"auto"},
"messages":{"type":"array","minItems":1,"items":{"$ref":"#/components/schemas/Message"}},
"stream":{"type":"boolean"},"max_tokens":{"type":"integer","minimum":1},
"max_completion_tokens":{"type":"integer","minimum":1},
"temperature":{"type":"number","minimum":0,"maximum":2},
"top_p":{"type":"number","exclusiveMinimum":0,"maximum":1},
"n":{"type":"integer","minimum":1,"maximum":8},"stop":{"type":["string","array","null"]},
"seed":{"type":"integer"},"tools":{"type":"array"},"response_format":{"type":"object"}}},
"Usage":{"type":"object","required":["prompt_tokens","completion_tokens","total_tokens"],
"properties":{"prompt_tokens":{"type":"integer"},"completion_tokens":{"type":"integer"},
"total_tokens":{"type":"integer"}}},
"ChatAnswer":{"type":"object","required":["id","object","created","model","choices"],
"properties":{"id":{"type":"string"},"object":{"type":"string"},"created":{"type":"integer"},
"model":{"type":"string"},"choices":{"type":"array","items":{"type":"object"}},
"usage":{"$ref":"#/components/schemas/Usage"}}},
"CompletionRequest":{"type":"object","required":["prompt"],"properties":{
"model":{"type":"string"},"prompt":{"type":["string","array"]},"stream":{"type":"boolean"},
"max_tokens":{"type":"integer","minimum":1},"temperature":{"type":"number"}}},
"Completion":{"type":"object","required":["id","object","created","model","choices"],
"properties":{"id":{"type":"string"},"object":{"type":"string"},"created":{"type":"integer"},
"model":{"type":"string"},"choices":{"type":"array","items":{"type":"object"}},
"usage":{"$ref":"#/components/schemas/Usage"}}},
"TgiRequest":{"type":"object","required":["inputs"],"properties":{"inputs":{"type":"string"},
"parameters":{"type":"object"},"stream":{"type":"boolean"}}},
"TeiRequest":{"type":"object"},
"TgiAnswer":{"type":"object","required":["generated_text"],"properties":{
"generated_text":{"type":"string"},"details":{"type":["object","null"]}}}
})";

const RouteDoc* doc_of(const RouteRow& row) {
  const auto at = std::ranges::find_if(
      kDocs, [&](const RouteDoc& doc) { return doc.method == row.method && doc.path == row.path; });
  return at == kDocs.end() ? nullptr : &*at;
}

void write_reference(JsonWriter& w, std::string_view schema) {
  w.begin_object();
  w.field("$ref", fmt::format("#/components/schemas/{}", schema));
  w.end_object();
}

void write_content(JsonWriter& w, std::string_view type, std::string_view schema) {
  w.key(type);
  w.begin_object();
  w.key("schema");
  write_reference(w, schema);
  w.end_object();
}

void write_answers(JsonWriter& w, const RouteRow& row, const RouteDoc* doc) {
  w.key("responses");
  w.begin_object();
  w.key("200");
  w.begin_object();
  w.field("description", "The answer");
  w.key("content");
  w.begin_object();
  if (row.access == Access::kMetrics) {
    w.key("text/plain");
    w.begin_object();
    w.end_object();
  } else {
    const bool known = doc != nullptr && !doc->response.empty();
    write_content(w, "application/json", known ? doc->response : "AnyObject");
  }
  if (doc != nullptr && doc->streams) {
    w.key("text/event-stream");
    w.begin_object();
    w.end_object();
  }
  w.end_object();
  w.end_object();
  w.key("default");
  w.begin_object();
  w.field("description", "An error, in the dialect of the route");
  w.key("content");
  w.begin_object();
  const bool tgi = doc != nullptr && (doc->request == "TgiRequest" || doc->request == "TeiRequest");
  write_content(w, "application/json", tgi ? "TgiError" : "Error");
  w.end_object();
  w.end_object();
  w.end_object();
}

void write_parameters(JsonWriter& w, const RouteRow& row) {
  if (!row.path.ends_with("{id}")) {
    return;
  }
  w.key("parameters");
  w.begin_array();
  w.begin_object();
  w.field("name", "id");
  w.field("in", "path");
  w.field_bool("required", true);
  w.key("schema");
  w.begin_object();
  w.field("type", "string");
  w.end_object();
  w.end_object();
  w.end_array();
}

void write_security(JsonWriter& w, const RouteRow& row) {
  w.key("security");
  w.begin_array();
  if (row.access != Access::kPublic) {
    w.begin_object();
    w.key("bearer");
    w.begin_array();
    w.end_array();
    w.end_object();
  }
  w.end_array();
}

std::string_view tag_of(Access access) {
  switch (access) {
    case Access::kPublic:
      return "public";
    case Access::kInference:
      return "inference";
    case Access::kMetrics:
      return "metrics";
    case Access::kAdmin:
      break;
  }
  return "admin";
}

std::string lower(std::string_view method) {
  std::string text(method);
  std::ranges::transform(
      text, text.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
  return text;
}

void write_operation(JsonWriter& w, const RouteRow& row) {
  const RouteDoc* doc = doc_of(row);
  w.key(lower(row.method));
  w.begin_object();
  w.field("summary",
          doc == nullptr ? fmt::format("{} {}", row.method, row.path) : std::string(doc->summary));
  w.key("tags");
  w.begin_array();
  w.string(tag_of(row.access));
  w.end_array();
  write_security(w, row);
  write_parameters(w, row);
  if (row.method == "POST" && doc != nullptr && !doc->request.empty()) {
    w.key("requestBody");
    w.begin_object();
    w.field_bool("required", true);
    w.key("content");
    w.begin_object();
    write_content(w, "application/json", doc->request);
    w.end_object();
    w.end_object();
  }
  write_answers(w, row, doc);
  w.end_object();
}

}  // namespace

std::string openapi_json(const std::vector<RouteRow>& routes, std::string_view version) {
  std::map<std::string_view, std::vector<const RouteRow*>> paths;
  for (const RouteRow& row : routes) {
    paths[row.path].push_back(&row);
  }
  JsonWriter w;
  w.begin_object();
  w.field("openapi", "3.1.0");
  w.key("info");
  w.begin_object();
  w.field("title", "Genesis");
  w.field("version", version);
  w.end_object();
  w.key("paths");
  w.begin_object();
  for (const auto& [path, rows] : paths) {
    w.key(path);
    w.begin_object();
    for (const RouteRow* row : rows) {
      write_operation(w, *row);
    }
    w.end_object();
  }
  w.end_object();
  w.key("components");
  w.begin_object();
  w.field_raw("schemas", kSchemas);
  w.key("securitySchemes");
  w.begin_object();
  w.key("bearer");
  w.begin_object();
  w.field("type", "http");
  w.field("scheme", "bearer");
  w.end_object();
  w.end_object();
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace genesis::server
