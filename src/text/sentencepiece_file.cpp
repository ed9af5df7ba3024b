// The fields of a tokenizer.model file that encoding needs. Numbers:
// github.com/google/sentencepiece, src/sentencepiece_model.proto.
#include "text/protobuf_reader.h"
#include "text/sentencepiece.h"
#include "text/vocabulary.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxFile = 256 * 1024 * 1024;

Result<SentencePieces::Row> parse_row(std::string_view message) {
  SentencePieces::Row row;
  ProtobufReader reader(message);
  while (true) {
    GENESIS_TRY(const auto field, reader.next());
    if (!field) {
      return row;
    }
    if (field->number == 1 && field->is_bytes) {
      row.text = field->bytes;
    } else if (field->number == 2) {
      row.score = field->as_float();
    } else if (field->number == 3) {
      if (field->integer < 1 || field->integer > 6) {
        return fail(ErrorCode::kDataLoss, fmt::format("piece type {}", field->integer));
      }
      row.type = static_cast<PieceType>(field->integer);
    }
  }
}

Result<void> parse_trainer(std::string_view message, SentencePieces& out) {
  std::int32_t bos = 1;
  std::int32_t eos = 2;
  ProtobufReader reader(message);
  while (true) {
    GENESIS_TRY(const auto field, reader.next());
    if (!field) {
      break;
    }
    switch (field->number) {
      case 3:
        if (field->integer != 1 && field->integer != 2) {
          return fail_param(
              "model_type",
              fmt::format("type {} is not supported, only unigram (1) and BPE (2)", field->integer),
              ErrorCode::kUnsupported);
        }
        out.algorithm = static_cast<SentencePieces::Algorithm>(field->integer);
        break;
      case 24:
        out.space_is_suffix = field->integer != 0;
        break;
      case 35:
        out.byte_fallback = field->integer != 0;
        break;
      case 41:
        bos = field->as_int32();
        break;
      case 42:
        eos = field->as_int32();
        break;
      default:
        break;
    }
  }
  out.bos_id = bos >= 0 ? std::optional(bos) : std::nullopt;
  out.eos_id = eos >= 0 ? std::optional(eos) : std::nullopt;
  return {};
}

Result<void> parse_normalizer(std::string_view message, SentencePieces& out) {
  ProtobufReader reader(message);
  while (true) {
    GENESIS_TRY(const auto field, reader.next());
    if (!field) {
      return {};
    }
    switch (field->number) {
      case 2:
        out.precompiled_charsmap = field->bytes;
        break;
      case 3:
        out.add_dummy_prefix = field->integer != 0;
        break;
      case 4:
        out.remove_extra_whitespaces = field->integer != 0;
        break;
      case 5:
        out.escape_whitespaces = field->integer != 0;
        break;
      default:
        break;
    }
  }
}

Result<void> parse_fields(std::string_view file, SentencePieces& out) {
  out.bos_id = 1;
  out.eos_id = 2;
  ProtobufReader reader(file);
  while (true) {
    GENESIS_TRY(const auto field, reader.next());
    if (!field) {
      return {};
    }
    if (field->number == 1 && field->is_bytes) {
      if (out.rows.size() == static_cast<std::size_t>(kMaxTokenId)) {
        return fail(ErrorCode::kDataLoss, fmt::format("more than {} pieces", kMaxTokenId));
      }
      GENESIS_TRY(auto row, parse_row(field->bytes));
      out.rows.push_back(std::move(row));
    } else if (field->number == 2 && field->is_bytes) {
      GENESIS_TRY_VOID(parse_trainer(field->bytes, out));
    } else if (field->number == 3 && field->is_bytes) {
      GENESIS_TRY_VOID(parse_normalizer(field->bytes, out));
    }
  }
}

}  // namespace

Result<SentencePieces> parse_sentencepiece(std::string_view file) {
  if (file.size() > kMaxFile) {
    return fail_param("tokenizer.model",
                      fmt::format("{} bytes; at most {} are read", file.size(), kMaxFile),
                      ErrorCode::kDataLoss);
  }
  SentencePieces out;
  if (const auto parsed = parse_fields(file, out); !parsed) {
    Error error = parsed.error();
    if (error.param.empty()) {
      error.param = "tokenizer.model";
    }
    return std::unexpected(std::move(error));
  }
  if (out.rows.empty()) {
    return fail_param("tokenizer.model", "holds no pieces", ErrorCode::kDataLoss);
  }
  return out;
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_sentencepiece(
    std::string_view model, SentencePieceOptions options) {
  GENESIS_TRY(const SentencePieces pieces, parse_sentencepiece(model));
  return make_sentencepiece(pieces, options);
}

}  // namespace genesis::text
