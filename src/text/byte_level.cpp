#include "text/byte_level.h"

#include "text/unicode.h"

namespace genesis::text {

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  std::size_t next = 0x100;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const std::size_t character = itself ? byte : next++;
    byte_of_[character] = static_cast<std::int16_t>(byte);
    character_of_[byte] = static_cast<char32_t>(character);
  }
}

std::optional<std::string> ByteAlphabet::to_bytes(std::string_view token) const {
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = decode_valid(token, at);
    if (point.value >= kCharacters || byte_of_[point.value] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(byte_of_[point.value]));
    at += point.bytes;
  }
  return bytes;
}

}  // namespace genesis::text
