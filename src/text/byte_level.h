// The byte-level alphabet of GPT-2: every byte has a printable character (github.com/openai/gpt-2,
// encoder.py, bytes_to_unicode): printable Latin-1 bytes stand for themselves, the other 68 for
// U+0100 onwards in order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::text {

class ByteAlphabet {
 public:
  ByteAlphabet();

  // The bytes a vocabulary entry stands for; nullopt if a character is not in the alphabet.
  std::optional<std::string> to_bytes(std::string_view token) const;

  // The character of a byte.
  char32_t character(unsigned char byte) const { return character_of_[byte]; }

 private:
  static constexpr std::size_t kCharacters = 0x144;  // last one used is U+0143

  std::array<std::int16_t, kCharacters> byte_of_{};  // -1: not in the alphabet
  std::array<char32_t, 256> character_of_{};
};

}  // namespace genesis::text
