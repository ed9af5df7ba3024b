// Driver of the parity tests: one JSON request a line on stdin, one JSON reply a line on stdout.
//   text_probe gguf VOCABULARY.json | json TOKENIZER.json | spm TOKENIZER.model |
//              template TEMPLATE.jinja
// Tokenizer requests: {"text": ..} or {"hex": ..} to encode, {"ids": [..]} to decode; the reply to
// a text holds its ids, their offsets ("offsets" asked for), what they decode to with and without
// special tokens, and the pieces of incremental decodes. {"time": rounds, "texts": [..]} answers
// with the seconds each round of encoding took, {"token_bytes": [ids]} with bytes in hex. Template
// requests: {"messages", "tools", "extra", "client", "add_generation_prompt", "now",
// "mark_assistant", "end_tokens", "mentions", "uses"}; the first four hold JSON text. A template
// that cannot be parsed answers every request with its error.
#include "base/file.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <string>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxFile = 512 * 1024 * 1024;

template <typename T>
std::vector<T> list_of(const boost::json::object& object, std::string_view key) {
  const boost::json::value* found = object.if_contains(key);
  return found != nullptr ? boost::json::value_to<std::vector<T>>(*found) : std::vector<T>();
}

std::optional<std::int32_t> id_of(const boost::json::object& object, std::string_view key) {
  const auto found = get_integer(object, key);
  return found && *found ? std::optional(static_cast<std::int32_t>(**found)) : std::nullopt;
}

Result<std::shared_ptr<const Tokenizer>> load_gguf(const std::string& json) {
  GENESIS_TRY(const boost::json::value document, parse_json(json));
  const boost::json::object& object = document.as_object();
  GgufVocabulary vocabulary;
  vocabulary.model = get_string(object, "model").value().value_or("");
  vocabulary.pre = get_string(object, "pre").value().value_or("");
  vocabulary.tokens = list_of<std::string>(object, "tokens");
  vocabulary.token_types = list_of<std::int32_t>(object, "token_types");
  vocabulary.merges = list_of<std::string>(object, "merges");
  vocabulary.scores = list_of<float>(object, "scores");
  vocabulary.add_space_prefix = get_bool(object, "add_space_prefix").value().value_or(true);
  vocabulary.unknown_id = id_of(object, "unknown_id");
  vocabulary.bos_id = id_of(object, "bos_id");
  vocabulary.eos_id = id_of(object, "eos_id");
  vocabulary.add_bos = get_bool(object, "add_bos").value().value_or(false);
  return Tokenizer::from_gguf(vocabulary);
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

void write_error(JsonWriter& out, const Error& error) {
  out.field("error", error.message);
  out.field("code", error_code_name(error.code));
}

void write_ids(const std::vector<std::int32_t>& ids, JsonWriter& out) {
  out.key("ids");
  out.begin_array();
  for (const std::int32_t id : ids) {
    out.integer(id);
  }
  out.end_array();
}

void write_offsets(const Encoding& encoding, JsonWriter& out) {
  out.key("offset_ids");
  out.begin_array();
  for (const std::int32_t id : encoding.ids) {
    out.integer(id);
  }
  out.end_array();
  out.key("offsets");
  out.begin_array();
  for (const TokenOffsets& at : encoding.offsets) {
    out.begin_array();
    out.integer(static_cast<std::int64_t>(at.begin));
    out.integer(static_cast<std::int64_t>(at.end));
    out.end_array();
  }
  out.end_array();
}

void write_stream(const std::shared_ptr<const Tokenizer>& tokenizer,
                  const std::vector<std::int32_t>& ids,
                  std::string_view key,
                  JsonWriter& out) {
  Detokenizer incremental(tokenizer, key == "plain_pieces");
  out.key(key);
  out.begin_array();
  for (const std::int32_t id : ids) {
    out.string(incremental.push(id));
  }
  out.string(incremental.flush());
  out.end_array();
}

std::vector<std::int32_t> encode_request(const Tokenizer& tokenizer,
                                         const boost::json::object& request,
                                         JsonWriter& out) {
  const auto text = get_string(request, "text").value();
  const std::string input =
      text ? *text : from_hex(get_string(request, "hex").value().value_or(""));
  EncodeOptions options;
  options.add_special_tokens = get_bool(request, "add_special").value().value_or(true);
  options.parse_special = get_bool(request, "parse_special").value().value_or(true);
  std::vector<PlainSpan> plain;
  for (const auto& span : list_of<std::vector<std::size_t>>(request, "plain")) {
    plain.push_back({span.at(0), span.at(1)});
  }
  options.plain_spans = plain;
  const std::vector<std::int32_t> ids = tokenizer.encode(input, options);
  write_ids(ids, out);
  if (request.contains("offsets")) {
    write_offsets(tokenizer.encode_with_offsets(input, options), out);
  }
  return ids;
}

// Encodes (or takes the ids), then decodes in every way.
void answer_tokens(const std::shared_ptr<const Tokenizer>& tokenizer,
                   const boost::json::object& request,
                   JsonWriter& out) {
  std::vector<std::int32_t> ids = list_of<std::int32_t>(request, "ids");
  if (!request.contains("ids")) {
    ids = encode_request(*tokenizer, request, out);
  }
  if (request.contains("ids_only")) {
    return;
  }
  out.field("text", tokenizer->decode(ids, false));
  out.field("plain_text", tokenizer->decode(ids, true));
  write_stream(tokenizer, ids, "pieces", out);
  write_stream(tokenizer, ids, "plain_pieces", out);
}

void answer_bytes(const Tokenizer& tokenizer, const boost::json::object& request, JsonWriter& out) {
  out.key("token_bytes");
  out.begin_array();
  for (const std::int32_t id : list_of<std::int32_t>(request, "token_bytes")) {
    std::string hex;
    for (const char c : tokenizer.token_bytes(id)) {
      hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
    out.string(hex);
  }
  out.end_array();
}

// Seconds of each round over all texts.
void answer_time(const Tokenizer& tokenizer, const boost::json::object& request, JsonWriter& out) {
  const auto texts = list_of<std::string>(request, "texts");
  const std::int64_t rounds = get_integer(request, "time").value().value_or(1);
  std::size_t tokens = 0;
  out.key("seconds");
  out.begin_array();
  for (std::int64_t i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (const std::string& text : texts) {
      tokens += tokenizer.encode(text).size();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    out.number(took.count());
  }
  out.end_array();
  out.field("tokens", static_cast<std::int64_t>(tokens));
}

std::string part(const boost::json::object& request, std::string_view key) {
  const boost::json::value* found = request.if_contains(key);
  return found == nullptr ? std::string() : std::string(found->as_string());
}

template <typename Span>
void write_bounds(JsonWriter& out, const Span& span) {
  out.integer(static_cast<std::int64_t>(span.begin));
  out.integer(static_cast<std::int64_t>(span.end));
}

void write_spans(JsonWriter& out, std::string_view name, const std::vector<PlainSpan>& spans) {
  out.key(name);
  out.begin_array();
  for (const PlainSpan& span : spans) {
    out.begin_array();
    write_bounds(out, span);
    out.end_array();
  }
  out.end_array();
}

// [begin, end, message or null, number of the part]
void write_sources(JsonWriter& out, const std::vector<SourceSpan>& sources) {
  out.key("sources");
  out.begin_array();
  for (const SourceSpan& span : sources) {
    out.begin_array();
    write_bounds(out, span);
    span.message ? out.integer(*span.message) : out.null();
    out.integer(static_cast<std::int64_t>(span.part));
    out.end_array();
  }
  out.end_array();
}

void answer_template(const ChatTemplate& chat,
                     const boost::json::object& request,
                     JsonWriter& out) {
  for (const std::string& literal : list_of<std::string>(request, "mentions")) {
    out.key("mentions " + literal);
    out.boolean(chat.mentions(literal));
  }
  for (const std::string& name : list_of<std::string>(request, "uses")) {
    out.key("uses " + name);
    out.boolean(chat.uses_variable(name));
  }
  const std::string messages = part(request, "messages");
  const std::string tools = part(request, "tools");
  const std::string model_values = part(request, "extra");
  const std::string client_values = part(request, "client");
  const auto end_tokens = list_of<std::string>(request, "end_tokens");
  const auto rendered = chat.render(
      {.messages = messages,
       .tools = tools,
       .model_values = model_values,
       .client_values = client_values,
       .add_generation_prompt = get_bool(request, "add_generation_prompt").value().value_or(false),
       .now = get_integer(request, "now").value(),
       .mark_assistant = get_bool(request, "mark_assistant").value().value_or(false),
       .end_tokens = end_tokens});
  if (!rendered) {
    write_error(out, rendered.error());
    out.field("param", rendered.error().param);
    return;
  }
  out.field("text", rendered->text);
  write_spans(out, "from_messages", rendered->from_messages);
  write_spans(out, "from_assistant", rendered->from_assistant);
  write_sources(out, rendered->sources);
}

template <typename Answer>
void serve(Answer answer) {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto request = parse_json(line);
    JsonWriter out;
    out.begin_object();
    if (request && request->is_object()) {
      answer(request->get_object(), out);
    } else {
      out.field("error", "not a JSON object");
    }
    out.end_object();
    std::cout << out.take() << '\n' << std::flush;
  }
}

template <typename Loaded>
bool report(const Loaded& loaded, std::chrono::steady_clock::time_point begin) {
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (loaded) {
    std::cerr << fmt::format("loaded in {:.1f} ms\n", took.count());
  } else {
    std::cerr << loaded.error().param << ": " << loaded.error().message << '\n';
  }
  return loaded.has_value();
}

Result<std::shared_ptr<const Tokenizer>> load(const std::string& mode, const std::string& file) {
  if (mode == "gguf") {
    return load_gguf(file);
  }
  if (mode == "spm") {
    return Tokenizer::from_sentencepiece(file, {.add_bos = false});
  }
  return Tokenizer::from_tokenizer_json(file);
}

int run(const std::string& mode, const std::string& path) {
  const auto file = read_file(path, kMaxFile);
  if (!file) {
    std::cerr << file.error().message << '\n';
    return 1;
  }
  const auto begin = std::chrono::steady_clock::now();
  if (mode == "template") {
    const auto chat = ChatTemplate::parse(*file);
    serve([&](const auto& request, JsonWriter& out) {
      if (chat) {
        answer_template(*chat, request, out);
      } else {
        write_error(out, chat.error());
      }
    });
    return 0;
  }
  const auto tokenizer = load(mode, *file);
  if (!report(tokenizer, begin)) {
    return 1;
  }
  serve([&](const auto& request, JsonWriter& out) {
    if (request.contains("time")) {
      answer_time(**tokenizer, request, out);
    } else if (request.contains("token_bytes")) {
      answer_bytes(**tokenizer, request, out);
    } else {
      answer_tokens(*tokenizer, request, out);
    }
  });
  return 0;
}

}  // namespace

}  // namespace genesis::text

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: text_probe gguf|json|spm|template FILE\n";
    return 2;
  }
  return genesis::text::run(argv[1], argv[2]);
}
