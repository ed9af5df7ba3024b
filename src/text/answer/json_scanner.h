// JsonScanner: checks one JSON object that arrives byte by byte, and says where in it the next byte
// stands. As strict as parse_json(): RFC 8259, valid UTF-8, no lone surrogates.
#pragma once

#include "base/json.h"

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::text {

// What may come next.
enum class JsonPlace : std::uint8_t {
  kStart,      // '{'
  kFirstKey,   // a member's name or '}'
  kKey,        // a member's name
  kColon,      // ':'
  kFirstItem,  // a value or ']'
  kValue,      // a value
  kAfter,      // ',' or the closing bracket
  kString,     // inside a string
  kEscape,     // behind a backslash
  kHex,        // inside \uXXXX
  kPair,       // between the halves of a surrogate pair
  kWord,       // inside true, false, null
  kNumber,     // inside a number
  kEnd,        // nothing: the object is closed
  kBroken,     // nothing: it was no JSON
};

class JsonScanner {
 public:
  // False when `c` cannot stand here; the scanner is then broken for good.
  bool push(char c);

  JsonPlace place() const { return place_; }

  // Open brackets.
  std::size_t depth() const { return depth_; }

 private:
  enum class Digits : std::uint8_t { kSign, kZero, kWhole, kPoint, kFraction, kE, kESign, kPower };

  bool go(JsonPlace place) {
    place_ = place;
    return place != JsonPlace::kBroken;
  }

  bool begin_value(char c);
  bool open(bool object);
  bool close(bool object);
  bool in_string(char c);
  bool in_character(char c);
  bool in_escape(char c);
  bool in_hex(char c);
  bool in_pair(char c);
  bool in_word(char c);
  bool in_number(char c);
  bool outside(char c);

  JsonPlace place_ = JsonPlace::kStart;
  Digits digits_ = Digits::kSign;
  bool key_ = false;                   // the string is a member's name
  bool low_ = false;                   // the next \u must be a low surrogate
  std::size_t depth_ = 0;              // at most kMaxJsonDepth
  std::bitset<kMaxJsonDepth> object_;  // per open bracket: '{' and not '['
  std::string_view word_;              // what is left of it
  unsigned unit_ = 0;                  // of \uXXXX
  int hex_left_ = 0;
  std::string character_;  // bytes of an unfinished character, at most 3
};

}  // namespace genesis::text
