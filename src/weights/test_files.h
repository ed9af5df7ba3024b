// Builds small weights files for tests, well-formed or broken on purpose. Only tests include it.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace genesis::weights::testing {

template <typename T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

// A GGUF string: 64-bit length, then bytes.
inline std::string gguf_text(std::string_view text) {
  return raw(std::uint64_t{text.size()}).append(text);
}

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Collects metadata and tensors in order. Every field can be overwritten before build(), which is
// how a test says one lie and keeps the rest of the file true.
struct GgufBuilder {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  std::uint64_t metadata_count = 0;
  std::uint64_t tensor_count = 0;
  std::string metadata;
  std::string tensors;
  std::string data;

  // `value` begins with the four bytes of its type.
  GgufBuilder& put(std::string_view key, std::string_view value) {
    metadata.append(gguf_text(key)).append(value);
    ++metadata_count;
    return *this;
  }

  template <typename T>
  GgufBuilder& put_number(std::string_view key, std::uint32_t type, T value) {
    return put(key, raw(type) + raw(value));
  }

  GgufBuilder& put_string(std::string_view key, std::string_view value) {
    return put(key, raw(std::uint32_t{8}) + gguf_text(value));
  }

  template <typename T>
  GgufBuilder& put_array(std::string_view key,
                         std::uint32_t type,
                         std::initializer_list<T> values) {
    std::string bytes = raw(std::uint32_t{9}) + raw(type) + raw(std::uint64_t{values.size()});
    for (const T& value : values) {
      bytes += raw(value);
    }
    return put(key, bytes);
  }

  GgufBuilder& put_strings(std::string_view key, std::initializer_list<std::string_view> values) {
    std::string bytes =
        raw(std::uint32_t{9}) + raw(std::uint32_t{8}) + raw(std::uint64_t{values.size()});
    for (const std::string_view value : values) {
      bytes += gguf_text(value);
    }
    return put(key, bytes);
  }

  // A table row alone; `extents` fastest first, as the file has them.
  GgufBuilder& row(std::string_view name,
                   std::initializer_list<std::uint64_t> extents,
                   std::uint32_t type,
                   std::uint64_t offset) {
    tensors.append(gguf_text(name)).append(raw(static_cast<std::uint32_t>(extents.size())));
    for (const std::uint64_t extent : extents) {
      tensors += raw(extent);
    }
    tensors.append(raw(type)).append(raw(offset));
    ++tensor_count;
    return *this;
  }

  // A row and its bytes, placed at the next free aligned offset.
  GgufBuilder& tensor(std::string_view name,
                      std::initializer_list<std::uint64_t> extents,
                      std::uint32_t type,
                      std::string_view bytes) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    row(name, extents, type, data.size());
    data += bytes;
    return *this;
  }

  std::string build() const {
    std::string file = "GGUF";
    file += raw(version) + raw(tensor_count) + raw(metadata_count) + metadata + tensors;
    if (!data.empty()) {
      file.resize((file.size() + alignment - 1) / alignment * alignment);
    }
    return file + data;
  }
};

inline std::string safetensors_file(std::string_view header, std::string_view data) {
  return raw(std::uint64_t{header.size()}).append(header).append(data);
}

// A file with every kind of value and a few tensors: the start of mutation tests and fuzzing.
inline std::string sample_gguf() {
  GgufBuilder file;
  file.put_string("general.architecture", "llama")
      .put_number("general.alignment", 4, std::uint32_t{32})
      .put_number("u8", 0, std::uint8_t{200})
      .put_number("i8", 1, std::int8_t{-3})
      .put_number("u16", 2, std::uint16_t{60000})
      .put_number("i16", 3, std::int16_t{-300})
      .put_number("i32", 5, std::int32_t{-70000})
      .put_number("f32", 6, 1.5F)
      .put_number("yes", 7, std::uint8_t{1})
      .put_number("u64", 10, std::uint64_t{1} << 63)
      .put_number("i64", 11, std::int64_t{-5})
      .put_number("f64", 12, 0.1)
      .put_strings("tokens", {"<s>", "", "a\xC3\xA9"})
      .put_array<std::int32_t>("kinds", 5, {3, 1, -1})
      .put_array<float>("scores", 6, {0.5F, -2.0F})
      .put_array<std::uint8_t>("flags", 7, {1, 0});
  file.tensor("norm", {4}, 0, std::string(16, '\x01'))
      .tensor("w", {32, 2}, 3, std::string(40, '\x02'))
      .tensor("k", {256}, 14, std::string(210, '\x03'));
  return file.build();
}

inline std::string sample_safetensors() {
  return safetensors_file(R"({"__metadata__":{"format":"pt"},)"
                          R"("b":{"dtype":"F32","shape":[3],"data_offsets":[8,20]},)"
                          R"("a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},)"
                          R"("none":{"dtype":"I64","shape":[0],"data_offsets":[20,20]}}  )",
                          std::string_view("\0\1\2\3\4\5\6\7\0\0\200?\0\0\0@\0\0@@", 20));
}

}  // namespace genesis::weights::testing
