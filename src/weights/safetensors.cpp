// Reader of safetensors (huggingface/safetensors README, "Format"): eight bytes of header length, a
// JSON header, then the data without holes. The header is read event by event, so that a hostile
// one costs no more memory than its own tensors.
#include "weights/file_contents.h"

#include <boost/json/basic_parser_impl.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

static_assert(std::endian::native == std::endian::little, "stored numbers are read in place");

namespace genesis::weights {

namespace {

namespace json = boost::json;

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // MAX_HEADER_SIZE of the reference
constexpr std::size_t kMaxDimensions = 8;               // nothing we serve has more than four

std::unexpected<Error> damaged(std::string message) {
  return fail(
      ErrorCode::kDataLoss, fmt::format("safetensors: {}", message), "fetch the file again");
}

std::optional<TensorType> tensor_type(std::string_view dtype) {
  for (const TensorType type : {TensorType::kF32,
                                TensorType::kF16,
                                TensorType::kBF16,
                                TensorType::kI8,
                                TensorType::kI16,
                                TensorType::kI32,
                                TensorType::kI64,
                                TensorType::kF64,
                                TensorType::kU8,
                                TensorType::kBool}) {
    if (tensor_type_name(type) == dtype) {
      return type;
    }
  }
  return std::nullopt;
}

// One entry of the header as written.
struct HeaderEntry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::int64_t>> offsets;
};

// Takes the parser's events for {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {...}}
// and refuses every other structure. The member names are Boost.JSON's handler concept.
class HeaderHandler {
 public:
  static constexpr std::size_t max_object_size = kMaxHeaderBytes;
  static constexpr std::size_t max_array_size = kMaxHeaderBytes;
  static constexpr std::size_t max_key_size = kMaxHeaderBytes;
  static constexpr std::size_t max_string_size = kMaxHeaderBytes;

  std::vector<HeaderEntry> entries;
  std::map<std::string, MetadataValue, std::less<>> metadata;
  std::string problem;

  bool on_document_begin(json::error_code&) { return true; }

  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code& error) {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kNames;
        return true;
      case Place::kName:
        if (key_ == "__metadata__") {
          if (std::exchange(has_metadata_, true)) {
            return refuse("__metadata__ twice", error);
          }
          place_ = Place::kMetadata;
        } else {
          entries.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
          place_ = Place::kFields;
        }
        return true;
      default:
        return refuse("an object where none belongs", error);
    }
  }

  bool on_object_end(std::size_t, json::error_code&) {
    place_ = place_ == Place::kNames ? Place::kStart : Place::kNames;
    return true;
  }

  bool on_array_begin(json::error_code& error) {
    if (place_ != Place::kField || (key_ != "shape" && key_ != "data_offsets")) {
      return refuse("an array where none belongs", error);
    }
    auto& target = key_ == "shape" ? entries.back().shape : entries.back().offsets;
    if (target) {
      return refuse(fmt::format("'{}' twice in tensor '{}'", key_, entries.back().name), error);
    }
    target.emplace();
    numbers_ = &*target;
    place_ = Place::kNumbers;
    return true;
  }

  bool on_array_end(std::size_t, json::error_code&) {
    numbers_ = nullptr;
    place_ = Place::kFields;
    return true;
  }

  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    partial_.append(part);
    return true;
  }

  bool on_key(json::string_view rest, std::size_t, json::error_code&) {
    partial_.append(rest);
    key_ = std::exchange(partial_, {});
    if (place_ == Place::kNames) {
      place_ = Place::kName;
    } else if (place_ == Place::kFields) {
      place_ = Place::kField;
    }
    return true;
  }

  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    partial_.append(part);
    return true;
  }

  bool on_string(json::string_view rest, std::size_t, json::error_code& error) {
    partial_.append(rest);
    std::string value = std::exchange(partial_, {});
    if (place_ == Place::kMetadata) {
      return metadata.emplace(key_, std::move(value)).second ||
             refuse(fmt::format("metadata key '{}' twice", key_), error);
    }
    if (place_ != Place::kField || key_ != "dtype" || entries.back().dtype) {
      return refuse(fmt::format("a string where none belongs (after '{}')", key_), error);
    }
    entries.back().dtype = std::move(value);
    place_ = Place::kFields;
    return true;
  }

  bool on_number_part(json::string_view, json::error_code&) { return true; }

  bool on_int64(std::int64_t value, json::string_view, json::error_code& error) {
    if (place_ != Place::kNumbers || value < 0) {
      return refuse("a number where none belongs, or a negative one", error);
    }
    if (numbers_->size() == kMaxDimensions) {
      return refuse(
          fmt::format(
              "tensor '{}' has more than {} dimensions", entries.back().name, kMaxDimensions),
          error);
    }
    numbers_->push_back(value);
    return true;
  }

  bool on_uint64(std::uint64_t, json::string_view, json::error_code& error) {
    return refuse("a number above 2^63", error);
  }

  bool on_double(double, json::string_view, json::error_code& error) {
    return refuse("a number that is not an integer", error);
  }

  bool on_bool(bool, json::error_code& error) { return refuse("a truth value", error); }

  bool on_null(json::error_code& error) { return refuse("a null", error); }

  bool on_comment_part(json::string_view, json::error_code&) { return true; }

  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  enum class Place : std::uint8_t {
    kStart,     // outside the header object
    kNames,     // a tensor name comes next
    kName,      // after a tensor name
    kFields,    // in a tensor, a field name comes next
    kField,     // after a field name
    kNumbers,   // in "shape" or "data_offsets"
    kMetadata,  // in "__metadata__"
  };

  bool refuse(std::string what, json::error_code& error) {
    problem = std::move(what);
    error = json::error::syntax;
    return false;
  }

  Place place_ = Place::kStart;
  std::string key_;
  std::string partial_;
  std::vector<std::int64_t>* numbers_ = nullptr;
  bool has_metadata_ = false;
};

Result<TensorView> make_view(HeaderEntry entry, Bytes data, Reading reading) {
  const std::string& name = entry.name;
  if (!entry.dtype || !entry.shape || !entry.offsets || entry.offsets->size() != 2) {
    return damaged(fmt::format("tensor '{}' lacks dtype, shape or two data_offsets", name));
  }
  const auto type = tensor_type(*entry.dtype);
  if (!type) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format(
            "safetensors: tensor '{}' has dtype {}, which is not supported", name, *entry.dtype),
        "store it as F32, F16 or BF16");
  }
  GENESIS_TRY(const auto elements, count_elements(*entry.shape, name));
  GENESIS_TRY(const auto bytes, stored_bytes(*type, elements, name));
  const auto begin = static_cast<std::uint64_t>((*entry.offsets)[0]);
  const auto end = static_cast<std::uint64_t>((*entry.offsets)[1]);
  const bool inside = reading == Reading::kHeader || end <= data.size();
  if (begin > end || !inside || end - begin != bytes) {
    return damaged(fmt::format("tensor '{}' of {} bytes says it lies at {} to {} of {} data bytes",
                               name,
                               bytes,
                               begin,
                               end,
                               data.size()));
  }
  TensorView view{
      .name = std::move(entry.name), .type = *type, .shape = std::move(*entry.shape), .data = {}};
  if (reading == Reading::kWhole) {
    view.data = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes));
  }
  return view;
}

// The size of a whole file with this header.
Result<std::uint64_t> described_bytes(const std::vector<HeaderEntry>& entries,
                                      std::uint64_t data_begin) {
  std::uint64_t most = data_begin;
  for (const HeaderEntry& entry : entries) {
    std::uint64_t end = 0;
    if (entry.offsets && entry.offsets->size() == 2 &&
        __builtin_add_overflow(data_begin, static_cast<std::uint64_t>((*entry.offsets)[1]), &end)) {
      return damaged(fmt::format("tensor '{}' lies beyond what 64 bits can count", entry.name));
    }
    most = std::max(most, end);
  }
  return most;
}

// The tensors must cover the data exactly: no hole, no overlap, nothing behind the last.
Result<void> check_coverage(const std::vector<TensorView>& tensors, Bytes data) {
  std::vector<std::pair<const std::uint8_t*, const std::uint8_t*>> pieces;
  pieces.reserve(tensors.size());
  for (const TensorView& tensor : tensors) {
    pieces.emplace_back(tensor.data.data(), tensor.data.data() + tensor.data.size());
  }
  std::ranges::sort(pieces);
  const std::uint8_t* at = data.data();
  for (const auto& [begin, end] : pieces) {
    if (begin != at) {
      return damaged(fmt::format(
          "the data has {} at byte {}", begin < at ? "an overlap" : "a hole", at - data.data()));
    }
    at = end;
  }
  const std::ptrdiff_t covered = at - data.data();
  if (std::cmp_not_equal(covered, data.size())) {
    return damaged(fmt::format("tensors cover {} of {} data bytes", covered, data.size()));
  }
  return {};
}

}  // namespace

Result<FileContents> read_safetensors(Bytes bytes, Reading reading) {
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) {
    return damaged("the file is shorter than its header length");
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const Bytes rest = bytes.subspan(sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes) {
    return damaged(
        fmt::format("a header of {} bytes passes the {} allowed", header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > rest.size() || header_bytes == 0) {
    return damaged(fmt::format("the header says {} bytes; {} are left", header_bytes, rest.size()));
  }
  const Bytes header = rest.first(static_cast<std::size_t>(header_bytes));
  const Bytes data = rest.subspan(header.size());
  if (header.front() != '{') {
    return damaged("the header does not begin with '{'");
  }
  json::basic_parser<HeaderHandler> parser{json::parse_options{}};
  json::error_code error;
  const std::size_t used =
      parser.write_some(false, reinterpret_cast<const char*>(header.data()), header.size(), error);
  HeaderHandler& handler = parser.handler();
  if (error || used != header.size()) {
    const std::string why = !handler.problem.empty() ? handler.problem
                            : error                  ? error.message()
                                    : std::string("text after the end of the header");
    return damaged(fmt::format("bad header near byte {}: {}", used, why));
  }
  FileContents contents;
  contents.metadata = std::move(handler.metadata);
  contents.tensors.reserve(handler.entries.size());
  GENESIS_TRY(contents.described_bytes,
              described_bytes(handler.entries, sizeof(header_bytes) + header_bytes));
  if (reading == Reading::kWhole && contents.described_bytes > bytes.size()) {
    return damaged(fmt::format("the file is cut short: it has {} bytes, its header describes {}",
                               bytes.size(),
                               contents.described_bytes));
  }
  for (HeaderEntry& entry : handler.entries) {
    GENESIS_TRY(auto view, make_view(std::move(entry), data, reading));
    contents.tensors.push_back(std::move(view));
  }
  if (reading == Reading::kWhole) {
    GENESIS_TRY_VOID(check_coverage(contents.tensors, data));
  }
  return contents;
}

}  // namespace genesis::weights
