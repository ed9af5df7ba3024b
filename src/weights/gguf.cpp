// Reader of GGUF versions 2 and 3 (ggml docs/gguf.md). Nothing in the file is trusted: each count
// is held against the bytes left before anything is allocated for it.
#include "weights/file_contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

static_assert(std::endian::native == std::endian::little, "stored numbers are read in place");

namespace genesis::weights {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kMaxKeyBytes = 65'535;     // docs/gguf.md: a key is at most 2^16-1 bytes
constexpr std::size_t kMaxNameBytes = 256;       // the document says 64; some converters write 128
constexpr std::uint32_t kMaxDimensions = 4;      // GGML_MAX_DIMS
constexpr std::uint64_t kDefaultAlignment = 32;  // GGUF_DEFAULT_ALIGNMENT
// Above a huge page nothing is won, and a hostile value would only move the data out of the file.
constexpr std::uint64_t kMaxAlignment = 1024 * 1024;
constexpr std::uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;  // key length, key, type, smallest value
constexpr std::uint64_t kMinTensorBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // name, one dimension, type, offset

// gguf_type
enum class ValueType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

std::unexpected<Error> damaged(std::string message) {
  return fail(ErrorCode::kDataLoss, fmt::format("GGUF: {}", message), "fetch the file again");
}

// Reads forward over the file; every read is checked against the end.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : bytes_(bytes) {}

  std::uint64_t at() const { return at_; }

  std::uint64_t left() const { return bytes_.size() - at_; }

  template <typename T>
  Result<T> number(std::string_view what) {
    if (left() < sizeof(T)) {
      return damaged(fmt::format("the file ends inside {} at byte {}", what, at_));
    }
    T value{};
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  Result<std::string> text(std::string_view what, std::size_t limit) {
    GENESIS_TRY(const auto size, number<std::uint64_t>(what));
    if (size > limit) {
      return damaged(
          fmt::format("{} at byte {} says {} bytes; {} are allowed", what, at_, size, limit));
    }
    if (size > left()) {
      return damaged(
          fmt::format("{} at byte {} says {} bytes; {} are left", what, at_, size, left()));
    }
    std::string value(static_cast<std::size_t>(size), '\0');
    std::memcpy(value.data(), bytes_.data() + at_, value.size());
    at_ += size;
    return value;
  }

 private:
  Bytes bytes_;
  std::uint64_t at_ = 0;
};

// Stored number T as the widest of its kind.
template <typename T>
Result<MetadataValue> widened(Cursor& cursor, std::string_view what) {
  GENESIS_TRY(const auto value, cursor.number<T>(what));
  if constexpr (std::is_floating_point_v<T>) {
    return MetadataValue(static_cast<double>(value));
  } else if constexpr (std::is_signed_v<T>) {
    return MetadataValue(static_cast<std::int64_t>(value));
  } else {
    return MetadataValue(static_cast<std::uint64_t>(value));
  }
}

Result<bool> read_bool(Cursor& cursor, std::string_view what) {
  GENESIS_TRY(const auto value, cursor.number<std::uint8_t>(what));
  if (value > 1) {
    return damaged(fmt::format("{} is a truth value of {}; 0 or 1 are allowed", what, value));
  }
  return value == 1;
}

// `count` numbers of type T as a vector of Wide. The caller has checked the count.
template <typename T, typename Wide>
Result<MetadataValue> number_array(Cursor& cursor, std::uint64_t count, std::string_view what) {
  std::vector<Wide> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    GENESIS_TRY(const auto value, cursor.number<T>(what));
    if constexpr (std::is_integral_v<T>) {
      if (!std::in_range<Wide>(value)) {
        return damaged(
            fmt::format("{} holds {}, which passes a signed 64-bit integer", what, value));
      }
    }
    values.push_back(static_cast<Wide>(value));
  }
  return MetadataValue(std::move(values));
}

Result<MetadataValue> string_array(Cursor& cursor, std::uint64_t count, std::string_view what) {
  std::vector<std::string> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    GENESIS_TRY(auto value, cursor.text(what, std::string::npos));
    values.push_back(std::move(value));
  }
  return MetadataValue(std::move(values));
}

Result<MetadataValue> bool_array(Cursor& cursor, std::uint64_t count, std::string_view what) {
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    GENESIS_TRY(const bool value, read_bool(cursor, what));
    values.push_back(value ? 1 : 0);
  }
  return MetadataValue(std::move(values));
}

// The fewest bytes one stored value of `type` takes; 0 for what cannot be an array element.
std::uint64_t smallest_element(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
    case ValueType::kString:
      return 8;
    default:
      return 0;
  }
}

Result<MetadataValue> read_array(Cursor& cursor, std::string_view what) {
  GENESIS_TRY(const auto raw_type, cursor.number<std::uint32_t>(what));
  GENESIS_TRY(const auto count, cursor.number<std::uint64_t>(what));
  const auto type = static_cast<ValueType>(raw_type);
  if (type == ValueType::kArray) {
    return fail(ErrorCode::kUnsupported, fmt::format("GGUF: {} is an array of arrays", what));
  }
  const std::uint64_t smallest = smallest_element(type);
  if (smallest == 0) {
    return damaged(fmt::format("{} has elements of unknown type {}", what, raw_type));
  }
  if (count > cursor.left() / smallest) {
    return damaged(
        fmt::format("{} says {} elements; only {} bytes are left", what, count, cursor.left()));
  }
  switch (type) {
    case ValueType::kUint8:
      return number_array<std::uint8_t, std::int64_t>(cursor, count, what);
    case ValueType::kInt8:
      return number_array<std::int8_t, std::int64_t>(cursor, count, what);
    case ValueType::kUint16:
      return number_array<std::uint16_t, std::int64_t>(cursor, count, what);
    case ValueType::kInt16:
      return number_array<std::int16_t, std::int64_t>(cursor, count, what);
    case ValueType::kUint32:
      return number_array<std::uint32_t, std::int64_t>(cursor, count, what);
    case ValueType::kInt32:
      return number_array<std::int32_t, std::int64_t>(cursor, count, what);
    case ValueType::kUint64:
      return number_array<std::uint64_t, std::int64_t>(cursor, count, what);
    case ValueType::kInt64:
      return number_array<std::int64_t, std::int64_t>(cursor, count, what);
    case ValueType::kFloat32:
      return number_array<float, double>(cursor, count, what);
    case ValueType::kFloat64:
      return number_array<double, double>(cursor, count, what);
    case ValueType::kBool:
      return bool_array(cursor, count, what);
    default:
      return string_array(cursor, count, what);
  }
}

Result<MetadataValue> read_value(Cursor& cursor, std::string_view what) {
  GENESIS_TRY(const auto raw_type, cursor.number<std::uint32_t>(what));
  switch (static_cast<ValueType>(raw_type)) {
    case ValueType::kUint8:
      return widened<std::uint8_t>(cursor, what);
    case ValueType::kInt8:
      return widened<std::int8_t>(cursor, what);
    case ValueType::kUint16:
      return widened<std::uint16_t>(cursor, what);
    case ValueType::kInt16:
      return widened<std::int16_t>(cursor, what);
    case ValueType::kUint32:
      return widened<std::uint32_t>(cursor, what);
    case ValueType::kInt32:
      return widened<std::int32_t>(cursor, what);
    case ValueType::kUint64:
      return widened<std::uint64_t>(cursor, what);
    case ValueType::kInt64:
      return widened<std::int64_t>(cursor, what);
    case ValueType::kFloat32:
      return widened<float>(cursor, what);
    case ValueType::kFloat64:
      return widened<double>(cursor, what);
    case ValueType::kBool: {
      GENESIS_TRY(const bool value, read_bool(cursor, what));
      return MetadataValue(value);
    }
    case ValueType::kString: {
      GENESIS_TRY(auto value, cursor.text(what, std::string::npos));
      return MetadataValue(std::move(value));
    }
    case ValueType::kArray:
      return read_array(cursor, what);
  }
  return damaged(fmt::format("{} has unknown type {}", what, raw_type));
}

// ggml_type numbers that exist but that we do not read; empty for anything else.
std::string_view foreign_type_name(std::uint32_t number) {
  constexpr std::pair<std::uint32_t, std::string_view> kForeign[] = {{9, "Q8_1"},
                                                                     {10, "Q2_K"},
                                                                     {11, "Q3_K"},
                                                                     {15, "Q8_K"},
                                                                     {16, "IQ2_XXS"},
                                                                     {17, "IQ2_XS"},
                                                                     {18, "IQ3_XXS"},
                                                                     {19, "IQ1_S"},
                                                                     {20, "IQ4_NL"},
                                                                     {21, "IQ3_S"},
                                                                     {22, "IQ2_S"},
                                                                     {23, "IQ4_XS"},
                                                                     {29, "IQ1_M"},
                                                                     {34, "TQ1_0"},
                                                                     {35, "TQ2_0"},
                                                                     {39, "MXFP4"},
                                                                     {40, "NVFP4"},
                                                                     {41, "Q1_0"}};
  const auto* at =
      std::ranges::find(kForeign, number, &std::pair<std::uint32_t, std::string_view>::first);
  return at == std::end(kForeign) ? std::string_view("unknown") : at->second;
}

// A row of the tensor table before its place in the data section is known.
struct TensorRow {
  TensorView view;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

Result<TensorRow> read_tensor_row(Cursor& cursor) {
  TensorRow row;
  GENESIS_TRY(row.view.name, cursor.text("a tensor name", kMaxNameBytes));
  const std::string& name = row.view.name;
  const std::string what = fmt::format("the entry of tensor '{}'", name);
  GENESIS_TRY(const auto dimensions, cursor.number<std::uint32_t>(what));
  if (dimensions == 0 || dimensions > kMaxDimensions) {
    return damaged(
        fmt::format("tensor '{}' has {} dimensions; 1 to 4 are allowed", name, dimensions));
  }
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    GENESIS_TRY(const auto extent, cursor.number<std::uint64_t>(what));
    if (extent == 0 || !std::in_range<std::int64_t>(extent)) {
      return damaged(fmt::format("tensor '{}' has extent {} in dimension {}", name, extent, i));
    }
    row.view.shape.push_back(static_cast<std::int64_t>(extent));
  }
  GENESIS_TRY(const auto type, cursor.number<std::uint32_t>(what));
  GENESIS_TRY(row.offset, cursor.number<std::uint64_t>(what));
  const auto known = gguf_tensor_type(type);
  if (!known) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("GGUF: tensor '{}' has type {} ({}), which is not supported",
                            name,
                            foreign_type_name(type),
                            type),
                "take another quantization: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K or F16");
  }
  row.view.type = *known;
  // Blocks run along the first (fastest) dimension, so that one alone must hold whole blocks.
  if (static_cast<std::uint64_t>(row.view.shape[0]) % block_layout(*known).elements != 0) {
    return damaged(fmt::format("rows of tensor '{}' have {} elements, not whole {} blocks",
                               name,
                               row.view.shape[0],
                               tensor_type_name(*known)));
  }
  GENESIS_TRY(const auto elements, count_elements(row.view.shape, name));
  GENESIS_TRY(row.bytes, stored_bytes(*known, elements, name));
  std::ranges::reverse(row.view.shape);
  return row;
}

Result<std::uint64_t> data_alignment(const FileContents& contents) {
  const auto at = contents.metadata.find("general.alignment");
  if (at == contents.metadata.end()) {
    return kDefaultAlignment;
  }
  const auto* value = std::get_if<std::uint64_t>(&at->second);
  // Multiples of 8 by the document; powers of two by every reader.
  if (value == nullptr || !std::has_single_bit(*value) || *value < 8 || *value > kMaxAlignment) {
    return damaged("general.alignment must be an unsigned power of two from 8 to 1048576");
  }
  return *value;
}

// Bytes of the data section that the rows ask for.
Result<std::uint64_t> data_bytes(const std::vector<TensorRow>& rows, std::uint64_t alignment) {
  std::uint64_t most = 0;
  for (const TensorRow& row : rows) {
    if (row.offset % alignment != 0) {
      return damaged(fmt::format(
          "tensor '{}' begins at {}, not a multiple of {}", row.view.name, row.offset, alignment));
    }
    std::uint64_t end = 0;
    if (__builtin_add_overflow(row.offset, row.bytes, &end)) {
      return damaged(fmt::format("tensor '{}' lies beyond what 64 bits can count", row.view.name));
    }
    most = std::max(most, end);
  }
  return most;
}

// The file ends before its last tensor: how much is missing, and which tensor it cuts first.
std::unexpected<Error> cut_short(const std::vector<TensorRow>& rows,
                                 std::uint64_t needed,
                                 std::uint64_t there) {
  const TensorRow* first = nullptr;
  for (const TensorRow& row : rows) {
    const bool cut = row.offset > there || row.bytes > there - row.offset;
    if (cut && (first == nullptr || row.offset < first->offset)) {
      first = &row;
    }
  }
  return damaged(fmt::format(
      "the file is cut short: {} of the {} bytes of its tensors are missing; tensor '{}' needs {} "
      "bytes at {}; the data section has {}",
      needed - there,
      needed,
      first->view.name,
      first->bytes,
      first->offset,
      there));
}

// Gives each row its bytes; refuses rows over each other.
Result<void> place_tensors(std::vector<TensorRow>& rows, Bytes data) {
  for (TensorRow& row : rows) {
    row.view.data =
        data.subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.bytes));
  }
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return rows[i].offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const TensorRow& before = rows[order[i - 1]];
    const TensorRow& after = rows[order[i]];
    if (before.offset + before.bytes > after.offset) {
      return damaged(
          fmt::format("tensors '{}' and '{}' overlap", before.view.name, after.view.name));
    }
  }
  return {};
}

Result<void> read_metadata(Cursor& cursor, std::uint64_t count, FileContents& contents) {
  for (std::uint64_t i = 0; i < count; ++i) {
    GENESIS_TRY(auto key, cursor.text("a metadata key", kMaxKeyBytes));
    if (key.empty()) {
      return damaged(fmt::format("metadata entry {} has an empty key", i));
    }
    if (contents.metadata.contains(key)) {
      return damaged(fmt::format("metadata key '{}' is listed twice", key));
    }
    GENESIS_TRY(auto value, read_value(cursor, fmt::format("metadata '{}'", key)));
    contents.metadata.emplace(std::move(key), std::move(value));
  }
  return {};
}

Result<void> check_version(Cursor& cursor) {
  GENESIS_TRY(const auto version, cursor.number<std::uint32_t>("the version"));
  if (version == std::byteswap(2U) || version == std::byteswap(3U)) {
    return fail(ErrorCode::kUnsupported,
                "this is a big-endian GGUF file",
                "get the little-endian file, or convert it with gguf-convert-endian");
  }
  if (version != 2 && version != 3) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("GGUF version {} is not supported; 2 and 3 are", version),
                "convert the model again with a current llama.cpp");
  }
  return {};
}

}  // namespace

// ggml_type numbers (ggml.h) that we read.
std::optional<TensorType> gguf_tensor_type(std::uint32_t number) {
  switch (number) {
    case 0:
      return TensorType::kF32;
    case 1:
      return TensorType::kF16;
    case 2:
      return TensorType::kQ4_0;
    case 3:
      return TensorType::kQ4_1;
    case 6:
      return TensorType::kQ5_0;
    case 7:
      return TensorType::kQ5_1;
    case 8:
      return TensorType::kQ8_0;
    case 12:
      return TensorType::kQ4_K;
    case 13:
      return TensorType::kQ5_K;
    case 14:
      return TensorType::kQ6_K;
    case 24:
      return TensorType::kI8;
    case 25:
      return TensorType::kI16;
    case 26:
      return TensorType::kI32;
    case 27:
      return TensorType::kI64;
    case 28:
      return TensorType::kF64;
    case 30:
      return TensorType::kBF16;
    default:
      return std::nullopt;
  }
}

Result<FileContents> read_gguf(Bytes bytes, Reading reading) {
  Cursor cursor(bytes);
  GENESIS_TRY([[maybe_unused]] const auto magic, cursor.number<std::uint32_t>("the magic number"));
  GENESIS_TRY_VOID(check_version(cursor));
  GENESIS_TRY(const auto tensor_count, cursor.number<std::uint64_t>("the tensor count"));
  GENESIS_TRY(const auto metadata_count, cursor.number<std::uint64_t>("the metadata count"));
  if (metadata_count > cursor.left() / kMinKeyValueBytes) {
    return damaged(fmt::format(
        "{} metadata entries cannot fit the {} bytes left", metadata_count, cursor.left()));
  }
  FileContents contents;
  GENESIS_TRY_VOID(read_metadata(cursor, metadata_count, contents));
  GENESIS_TRY(const auto alignment, data_alignment(contents));

  if (tensor_count > cursor.left() / kMinTensorBytes) {
    return damaged(
        fmt::format("{} tensors cannot fit the {} bytes left", tensor_count, cursor.left()));
  }
  std::vector<TensorRow> rows;
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    GENESIS_TRY(auto row, read_tensor_row(cursor));
    rows.push_back(std::move(row));
  }
  const std::uint64_t data_begin = (cursor.at() + alignment - 1) / alignment * alignment;
  const Bytes data =
      data_begin < bytes.size() ? bytes.subspan(static_cast<std::size_t>(data_begin)) : Bytes{};
  GENESIS_TRY(const auto needed, data_bytes(rows, alignment));
  if (__builtin_add_overflow(data_begin, needed, &contents.described_bytes)) {
    return damaged("the tensors lie beyond what 64 bits can count");
  }
  if (reading == Reading::kWhole) {
    if (needed > data.size()) {
      return cut_short(rows, needed, data.size());
    }
    GENESIS_TRY_VOID(place_tensors(rows, data));
  }
  for (TensorRow& row : rows) {
    contents.tensors.push_back(std::move(row.view));
  }
  return contents;
}

}  // namespace genesis::weights
