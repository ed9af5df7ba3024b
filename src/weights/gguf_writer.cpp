// GGUF header layout and positioned writes.
#include "weights/gguf_writer.h"

#include "weights/file_contents.h"

#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <numeric>
#include <system_error>
#include <unistd.h>
#include <utility>

static_assert(std::endian::native == std::endian::little, "numbers are stored as they are");

namespace genesis::weights {

namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kHighestType = 64;  // above every ggml_type number

// gguf_type
enum ValueType : std::uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
};

template <typename T>
void append(std::string& out, T value) {
  const auto* bytes = reinterpret_cast<const char*>(&value);
  out.append(bytes, sizeof(T));
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  out.append(text);
}

template <typename T>
void append_all(std::string& out, std::span<const T> values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

std::uint64_t aligned(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

std::optional<std::uint32_t> type_number(TensorType type) {
  for (std::uint32_t number = 0; number < kHighestType; ++number) {
    if (gguf_tensor_type(number) == type) {
      return number;
    }
  }
  return std::nullopt;
}

std::unexpected<Error> io_error(std::string_view what,
                                const std::filesystem::path& path,
                                int code) {
  return fail_param(
      path.string(),
      fmt::format("cannot {} {}: {}", what, path.string(), std::generic_category().message(code)),
      code == ENOSPC || code == EDQUOT ? ErrorCode::kResourceExhausted : ErrorCode::kIo);
}

}  // namespace

void GgufMetadata::begin(std::string_view key, std::uint32_t type) {
  append_text(bytes_, key);
  append(bytes_, type);
  ++count_;
}

void GgufMetadata::begin_array(std::string_view key, std::uint32_t type, std::size_t elements) {
  begin(key, kArray);
  append(bytes_, type);
  append(bytes_, static_cast<std::uint64_t>(elements));
}

void GgufMetadata::put_u32(std::string_view key, std::uint32_t value) {
  begin(key, kUint32);
  append(bytes_, value);
}

void GgufMetadata::put_u64(std::string_view key, std::uint64_t value) {
  begin(key, kUint64);
  append(bytes_, value);
}

void GgufMetadata::put_f32(std::string_view key, float value) {
  begin(key, kFloat32);
  append(bytes_, value);
}

void GgufMetadata::put_bool(std::string_view key, bool value) {
  begin(key, kBool);
  append(bytes_, static_cast<std::uint8_t>(value ? 1 : 0));
}

void GgufMetadata::put_string(std::string_view key, std::string_view value) {
  begin(key, kString);
  append_text(bytes_, value);
}

void GgufMetadata::put_strings(std::string_view key, std::span<const std::string> values) {
  begin_array(key, kString, values.size());
  for (const std::string& value : values) {
    append_text(bytes_, value);
  }
}

void GgufMetadata::put_i32s(std::string_view key, std::span<const std::int32_t> values) {
  begin_array(key, kInt32, values.size());
  append_all(bytes_, values);
}

void GgufMetadata::put_i64s(std::string_view key, std::span<const std::int64_t> values) {
  begin_array(key, kInt64, values.size());
  append_all(bytes_, values);
}

void GgufMetadata::put_f32s(std::string_view key, std::span<const float> values) {
  begin_array(key, kFloat32, values.size());
  append_all(bytes_, values);
}

std::uint64_t GgufTensor::bytes() const {
  const BlockLayout layout = block_layout(type);
  const std::int64_t elements =
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  return static_cast<std::uint64_t>(elements) / layout.elements * layout.bytes;
}

Result<GgufLayout> GgufLayout::make(const GgufMetadata& metadata,
                                    std::span<const GgufTensor> tensors,
                                    std::uint64_t alignment) {
  GgufLayout layout;
  std::string& header = layout.header;
  header = "GGUF";
  append(header, kVersion);
  append(header, static_cast<std::uint64_t>(tensors.size()));
  append(header, metadata.count());
  header += metadata.bytes();
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    const auto number = type_number(tensor.type);
    if (!number) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "GGUF has no type for {} (tensor '{}')", tensor_type_name(tensor.type), tensor.name));
    }
    append_text(header, tensor.name);
    append(header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      append(header, static_cast<std::uint64_t>(*extent));
    }
    append(header, *number);
    append(header, offset);
    layout.offsets.push_back(offset);
    offset = aligned(offset + tensor.bytes(), alignment);
  }
  header.resize(aligned(header.size(), alignment), '\0');
  for (std::uint64_t& begin : layout.offsets) {
    begin += header.size();
  }
  layout.file_bytes = header.size() + offset;
  return layout;
}

Result<GgufWriter> GgufWriter::create(const std::filesystem::path& path, GgufLayout layout) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return io_error("create", path, errno);
  }
  GgufWriter writer(fd, path, std::move(layout));
  // Finds out now whether the disk has room, not at 90 %.
  const int full = ::posix_fallocate(fd, 0, static_cast<off_t>(writer.layout_.file_bytes));
  if (full != 0) {
    return io_error("reserve the size of", path, full);
  }
  const std::string& header = writer.layout_.header;
  GENESIS_TRY_VOID(
      writer.write_at(0, {reinterpret_cast<const std::uint8_t*>(header.data()), header.size()}));
  return writer;
}

GgufWriter::GgufWriter(GgufWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      layout_(std::move(other.layout_)) {}

GgufWriter& GgufWriter::operator=(GgufWriter&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(layout_, other.layout_);
  return *this;
}

GgufWriter::~GgufWriter() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

Result<void> GgufWriter::write(std::size_t index,
                               std::uint64_t at,
                               std::span<const std::uint8_t> bytes) const {
  return write_at(layout_.offsets[index] + at, bytes);
}

Result<void> GgufWriter::write_at(std::uint64_t at, std::span<const std::uint8_t> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return io_error("write", path_, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> GgufWriter::sync() const {
  if (::fsync(fd_) != 0) {
    return io_error("sync", path_, errno);
  }
  return {};
}

}  // namespace genesis::weights
