// Bytes that come in pieces, to text that is always whole characters.
#pragma once

#include <string>
#include <string_view>

namespace genesis::text {

// The concatenation of all returned text is to_valid_utf8() of all bytes.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  // What is still held back, as U+FFFD where it never became a character.
  std::string flush();

 private:
  std::string pending_;  // at most 3 bytes of an unfinished character
};

}  // namespace genesis::text
