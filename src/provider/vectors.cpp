#include "provider/vectors.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace genesis::provider {

namespace {

static_assert(std::endian::native == std::endian::little, "vectors travel as little-endian floats");

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> kValues = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}();

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::kUpstream, std::string(what));
}

// RFC 4648 section 4, with or without padding.
Result<std::string> decode_base64(std::string_view text) {
  while (text.ends_with('=')) {
    text.remove_suffix(1);
  }
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const std::int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) {
      return malformed("an 'embedding' is not base64");
    }
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<char>((bits >> held) & 0xFFU));
    }
  }
  return bytes;
}

}  // namespace

void write_inputs(JsonWriter& out, const EmbedInput& input) {
  out.begin_array();
  for (const std::string& text : input.texts) {
    out.string(text);
  }
  if (input.texts.empty()) {
    for (const auto& tokens : input.token_lists) {
      out.begin_array();
      for (const std::int32_t id : tokens) {
        out.integer(id);
      }
      out.end_array();
    }
  }
  out.end_array();
}

Result<float> read_float(const boost::json::value& value) {
  if (!value.is_number()) {
    return malformed("a number was expected");
  }
  const auto number = value.to_number<float>();
  if (!std::isfinite(number)) {
    return malformed("a number is not finite");
  }
  return number;
}

Result<std::vector<float>> read_vector(const boost::json::value& value) {
  std::vector<float> vector;
  if (value.is_string()) {
    GENESIS_TRY(const std::string bytes, decode_base64(value.get_string()));
    if (bytes.empty() || bytes.size() % sizeof(float) != 0) {
      return malformed("an 'embedding' is not a whole number of floats");
    }
    vector.resize(bytes.size() / sizeof(float));
    std::memcpy(vector.data(), bytes.data(), bytes.size());
    for (const float number : vector) {
      if (!std::isfinite(number)) {
        return malformed("a number is not finite");
      }
    }
  } else if (value.is_array()) {
    vector.reserve(value.get_array().size());
    for (const auto& item : value.get_array()) {
      GENESIS_TRY(const float number, read_float(item));
      vector.push_back(number);
    }
  }
  if (vector.empty()) {
    return malformed("an 'embedding' is empty or not a list");
  }
  return vector;
}

std::unexpected<Error> unusable_answer(std::string_view endpoint, const Error& why) {
  return fail(ErrorCode::kUpstream,
              fmt::format("endpoint '{}' sent an unusable answer: {}", endpoint, why.message));
}

}  // namespace genesis::provider
