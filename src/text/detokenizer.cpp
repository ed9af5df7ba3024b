// What a Tokenizer does by default, in terms of the bytes of its tokens, and the Detokenizer.
#include "text/tokenizer.h"
#include "text/utf8_stream.h"

#include <utility>

namespace genesis::text {

namespace {

class ByteStream final : public DecodeStream {
 public:
  ByteStream(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  std::string push(std::int32_t id) override {
    if (skip_special_ && tokenizer_.is_special(id)) {
      return {};
    }
    return bytes_.push(tokenizer_.token_bytes(id));
  }

  std::string flush() override { return bytes_.flush(); }

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  Utf8Stream bytes_;
};

}  // namespace

std::unique_ptr<DecodeStream> Tokenizer::stream(bool skip_special) const {
  return std::make_unique<ByteStream>(*this, skip_special);
}

Encoding Tokenizer::encode_with_offsets(std::string_view text, const EncodeOptions& options) const {
  Encoding out;
  out.ids = encode(text, options);
  out.offsets.resize(out.ids.size());
  return out;
}

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
    : tokenizer_(std::move(tokenizer)), stream_(tokenizer_->stream(skip_special)) {}

}  // namespace genesis::text
