// Reads protocol buffers field by field, without a schema (protobuf.dev/programming-guides/
// encoding). Views into the message; nothing is allocated.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace genesis::text {

struct ProtobufField {
  std::uint32_t number = 0;
  std::uint64_t integer = 0;  // of a varint or fixed-size field
  std::string_view bytes;     // of a length-delimited field
  bool is_bytes = false;

  float as_float() const;  // of a 32-bit field
  // Of an int32 or enum; what does not fit becomes -1.
  std::int32_t as_int32() const;
};

class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view message) : rest_(message) {}

  // nullopt at the end; kDataLoss if the message is cut or has a wire type nobody writes.
  Result<std::optional<ProtobufField>> next();

 private:
  Result<std::uint64_t> varint();

  std::string_view rest_;
};

}  // namespace genesis::text
