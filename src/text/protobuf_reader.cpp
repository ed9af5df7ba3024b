#include "text/protobuf_reader.h"

#include <bit>
#include <cstring>

namespace genesis::text {

namespace {

enum WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::unexpected<Error> damaged(const char* what) {
  return fail(ErrorCode::kDataLoss, what);
}

}  // namespace

float ProtobufField::as_float() const {
  return std::bit_cast<float>(static_cast<std::uint32_t>(integer));
}

std::int32_t ProtobufField::as_int32() const {
  return integer <= 0x7FFFFFFF ? static_cast<std::int32_t>(integer) : -1;
}

Result<std::uint64_t> ProtobufReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) {
      return damaged("the message ends inside a number");
    }
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
  return damaged("a number has more than ten bytes");
}

Result<std::optional<ProtobufField>> ProtobufReader::next() {
  if (rest_.empty()) {
    return std::optional<ProtobufField>();
  }
  GENESIS_TRY(const std::uint64_t tag, varint());
  ProtobufField field;
  field.number = static_cast<std::uint32_t>(tag >> 3);
  const auto wire_type = static_cast<std::uint8_t>(tag & 7);
  if (wire_type == kVarint) {
    GENESIS_TRY(field.integer, varint());
    return std::optional(field);
  }
  std::uint64_t size = wire_type == kFixed64 ? 8 : 4;
  if (wire_type == kBytes) {
    GENESIS_TRY(size, varint());
  } else if (wire_type != kFixed64 && wire_type != kFixed32) {
    return damaged("a field has an unknown wire type");
  }
  if (size > rest_.size()) {
    return damaged("the message ends inside a field");
  }
  if (wire_type == kBytes) {
    field.bytes = rest_.substr(0, size);
    field.is_bytes = true;
  } else {
    std::memcpy(&field.integer, rest_.data(), size);
  }
  rest_.remove_prefix(size);
  return std::optional(field);
}

}  // namespace genesis::text
