#include "text/decoder.h"

#include "base/json.h"
#include "text/byte_level.h"
#include "text/decoder_steps.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 32;
// Text a step may put in the place of another; a chain of steps multiplies it.
constexpr std::size_t kMaxReplacement = 64;
constexpr std::size_t kMaxGrowingSteps = 4;
constexpr std::string_view kPrefix = "decoder.";
constexpr char32_t kMark = 0x2581;  // sentencepiece's stand-in for the space

std::unexpected<Error> unsupported(std::string what) {
  return fail_param("decoder", std::move(what), ErrorCode::kUnsupported);
}

Result<std::string> text_of(const boost::json::object& json,
                            std::string_view key,
                            std::string_view absent) {
  GENESIS_TRY(auto text, get_string(json, key, kPrefix));
  return text.value_or(std::string(absent));
}

Result<char32_t> character_of(const boost::json::object& json, std::string_view key) {
  GENESIS_TRY(const std::string text, text_of(json, key, ""));
  if (text.empty() || decode_valid(text, 0).bytes != text.size()) {
    return unsupported(fmt::format("'{}' must be one character", key));
  }
  return decode_valid(text, 0).value;
}

using Owned = std::unique_ptr<const DecodeStep>;

Result<Owned> parse_ctc(const boost::json::object& json) {
  GENESIS_TRY(std::string pad, text_of(json, "pad_token", "<pad>"));
  GENESIS_TRY(std::string delimiter, text_of(json, "word_delimiter_token", "|"));
  GENESIS_TRY(const auto cleanup, get_bool(json, "cleanup", kPrefix));
  return decode_ctc({std::move(pad), std::move(delimiter), cleanup.value_or(true)});
}

Result<Owned> parse_metaspace(const boost::json::object& json) {
  GENESIS_TRY(const char32_t replacement, character_of(json, "replacement"));
  GENESIS_TRY(const std::string scheme, text_of(json, "prepend_scheme", "always"));
  GENESIS_TRY(const auto prefix_space, get_bool(json, "add_prefix_space", kPrefix));
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return unsupported(fmt::format("prepend_scheme '{}' is not supported", scheme));
  }
  return decode_metaspace(replacement, scheme != "never" && prefix_space.value_or(true));
}

Result<Owned> parse_replace(const boost::json::object& json,
                            const std::shared_ptr<const CharTable>& table) {
  GENESIS_TRY(Finder finder, Finder::parse(json, table, "decoder"));
  GENESIS_TRY(std::string with, text_of(json, "content", ""));
  if (with.size() > kMaxReplacement) {
    return unsupported(fmt::format("Replace's 'content' is above {} bytes", kMaxReplacement));
  }
  return decode_replace(std::move(finder), std::move(with));
}

Result<Owned> parse_strip(const boost::json::object& json) {
  GENESIS_TRY(const char32_t content, character_of(json, "content"));
  GENESIS_TRY(const auto start, get_integer(json, "start", kPrefix));
  GENESIS_TRY(const auto stop, get_integer(json, "stop", kPrefix));
  if (start.value_or(0) < 0 || stop.value_or(0) < 0) {
    return unsupported("Strip's 'start' and 'stop' must not be negative");
  }
  return decode_strip({content,
                       static_cast<std::size_t>(start.value_or(0)),
                       static_cast<std::size_t>(stop.value_or(0))});
}

Result<Owned> parse_word_piece(const boost::json::object& json) {
  GENESIS_TRY(std::string prefix, text_of(json, "prefix", "##"));
  GENESIS_TRY(const auto cleanup, get_bool(json, "cleanup", kPrefix));
  return decode_word_piece(std::move(prefix), cleanup.value_or(true));
}

Result<Owned> parse_bpe(const boost::json::object& json) {
  GENESIS_TRY(std::string suffix, text_of(json, "suffix", "</w>"));
  return decode_bpe(std::move(suffix));
}

Result<Owned> parse_step(std::string_view type,
                         const boost::json::object& json,
                         const std::shared_ptr<const CharTable>& table) {
  if (type == "BPEDecoder") {
    return parse_bpe(json);
  }
  if (type == "ByteFallback") {
    return decode_byte_fallback();
  }
  if (type == "ByteLevel") {
    return decode_byte_level();
  }
  if (type == "CTC") {
    return parse_ctc(json);
  }
  if (type == "Fuse") {
    return decode_fuse();
  }
  if (type == "Metaspace") {
    return parse_metaspace(json);
  }
  if (type == "Replace") {
    return parse_replace(json, table);
  }
  if (type == "Strip") {
    return parse_strip(json);
  }
  if (type == "WordPiece") {
    return parse_word_piece(json);
  }
  return unsupported(fmt::format("decoder '{}' is not supported", type));
}

}  // namespace

void TokenSink::text(std::string_view part) {
  if (next_ == chain_.states_.size()) {
    chain_.out_ += part;
  } else if (!part.empty()) {
    TokenSink out(chain_, next_ + 1);
    chain_.states_[next_]->text(part, out);
  }
}

void TokenSink::end() {
  if (next_ < chain_.states_.size()) {
    TokenSink out(chain_, next_ + 1);
    chain_.states_[next_]->end(out);
  }
}

DecodeChain::DecodeChain(const std::vector<std::unique_ptr<const DecodeStep>>& steps) {
  states_.reserve(steps.size());
  for (const auto& step : steps) {
    states_.push_back(step->start());
  }
}

std::string DecodeChain::push(std::string_view token) {
  TokenSink(*this, 0).token(token);
  return std::exchange(out_, {});
}

std::string DecodeChain::finish() {
  if (!std::exchange(finished_, true)) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      TokenSink out(*this, i + 1);
      states_[i]->finish(out);
    }
  }
  return std::exchange(out_, {});
}

Result<Decoder> Decoder::parse(const boost::json::value& json,
                               const std::shared_ptr<const CharTable>& table) {
  Decoder out;
  if (json.is_null()) {
    out.steps_.push_back(decode_join());
    return out;
  }
  GENESIS_TRY_VOID(out.add(json, table, 0));
  out.is_bytes_ = out.has_byte_level_ && out.steps_.size() == 1;
  return out;
}

Result<void> Decoder::add(const boost::json::value& json,
                          const std::shared_ptr<const CharTable>& table,
                          std::size_t depth) {
  if (!json.is_object() || depth == kMaxDepth || steps_.size() == kMaxSteps) {
    return unsupported("a decoder must be an object, and a chain of them short and flat");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(const auto type, get_string(object, "type", kPrefix));
  const boost::json::value* inner = object.if_contains("decoders");
  if (type == "Sequence" && inner != nullptr && inner->is_array()) {
    for (const boost::json::value& part : inner->get_array()) {
      GENESIS_TRY_VOID(add(part, table, depth + 1));
    }
    return {};
  }
  if (type == "Replace" && ++growing_steps_ > kMaxGrowingSteps) {
    return unsupported(fmt::format("more than {} Replace steps", kMaxGrowingSteps));
  }
  GENESIS_TRY(auto step, parse_step(type.value_or("null"), object, table));
  steps_.push_back(std::move(step));
  has_byte_level_ = has_byte_level_ || type == "ByteLevel";
  has_byte_fallback_ = has_byte_fallback_ || type == "ByteFallback";
  return {};
}

Decoder Decoder::bytes() {
  Decoder out;
  out.steps_.push_back(decode_byte_level());
  out.is_bytes_ = out.has_byte_level_ = true;
  return out;
}

Decoder Decoder::pieces(bool strips) {
  Decoder out;
  std::string mark;
  append_utf8(mark, kMark);
  out.steps_.push_back(decode_replace(Finder::for_text(std::move(mark)), " "));
  out.steps_.push_back(decode_byte_fallback());
  out.steps_.push_back(decode_fuse());
  if (strips) {
    out.steps_.push_back(decode_strip({' ', 1, 0}));
  }
  out.has_byte_fallback_ = true;
  return out;
}

Decoder Decoder::word_pieces() {
  Decoder out;
  out.steps_.push_back(decode_word_piece("##", true));
  return out;
}

std::string Decoder::bytes_of(std::string_view token) const {
  if (has_byte_fallback_) {
    if (const auto byte = byte_of_token(token)) {
      return std::string(1, static_cast<char>(*byte));
    }
  }
  if (has_byte_level_) {
    return ByteAlphabet().to_bytes(token).value_or(std::string(token));
  }
  // Between two other tokens, less what those are without it.
  DecodeChain with = start();
  std::string text = with.push("x") + with.push(token) + with.push("y") + with.finish();
  DecodeChain without = start();
  const std::string rest = without.push("x") + without.push("y") + without.finish();
  const std::size_t around = rest.size();
  return text.size() > around && around > 0 ? text.substr(1, text.size() - around) : std::string();
}

std::optional<unsigned char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) {
    return std::nullopt;
  }
  // Rust's from_str_radix, which the package uses, takes a sign.
  std::string_view digits = token.substr(3, 2);
  if (digits.front() == '+') {
    digits.remove_prefix(1);
  }
  unsigned char byte = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(byte)
                                                                      : std::nullopt;
}

}  // namespace genesis::text
