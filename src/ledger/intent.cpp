// Columns in the order of the table: integers as zigzag varints, texts with their length before
// them, optional integers with a byte that says whether one follows. Accounts are left out: they
// follow from the rest.
#include "ledger/intent.h"

#include <algorithm>

namespace genesis::ledger {

namespace {

constexpr std::uint8_t kFormat = 1;
// Longer than any name that check_names() lets through; a row's texts are a few hundred bytes.
constexpr std::uint64_t kMaxText = 4096;
constexpr std::uint64_t kMaxPrices = 4;

class Writer {
 public:
  void operator()(std::int64_t value) {
    auto bits = (static_cast<std::uint64_t>(value) << 1U) ^ static_cast<std::uint64_t>(value >> 63);
    while (bits >= 0x80) {
      out_.push_back(static_cast<char>(bits | 0x80U));
      bits >>= 7U;
    }
    out_.push_back(static_cast<char>(bits));
  }

  void operator()(const std::string& text) {
    (*this)(static_cast<std::int64_t>(text.size()));
    out_ += text;
  }

  void operator()(const std::optional<std::int64_t>& value) {
    out_.push_back(value ? '\1' : '\0');
    if (value) {
      (*this)(*value);
    }
  }

  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Stops at the first thing that is wrong and stays wrong.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  void operator()(std::int64_t& value) {
    std::uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = next();
      bits |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) {
        value = static_cast<std::int64_t>((bits >> 1U) ^ (~(bits & 1U) + 1U));
        return;
      }
    }
    good_ = false;
  }

  void operator()(std::string& text) {
    std::int64_t size = 0;
    (*this)(size);
    if (!good_ || size < 0 || static_cast<std::uint64_t>(size) > kMaxText ||
        static_cast<std::uint64_t>(size) > bytes_.size() - at_) {
      good_ = false;
      return;
    }
    const auto part = bytes_.subspan(at_, static_cast<std::size_t>(size));
    text.assign(part.begin(), part.end());
    at_ += part.size();
  }

  void operator()(std::optional<std::int64_t>& value) {
    const std::uint8_t there = next();
    value.reset();
    if (there == 1) {
      (*this)(value.emplace());
    } else {
      good_ = good_ && there == 0;
    }
  }

  bool good() const { return good_; }

  bool done() const { return good_ && at_ == bytes_.size(); }

 private:
  std::uint8_t next() {
    if (at_ >= bytes_.size()) {
      good_ = false;
      return 0;
    }
    return bytes_[at_++];
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool good_ = true;
};

template <typename P, typename F>
void each_price_field(P& p, F&& f) {
  f(p.model), f(p.valid_from_ms), f(p.valid_to_ms), f(p.input), f(p.cached_input);
  f(p.cache_write), f(p.output), f(p.reasoning), f(p.source), f(p.id);
}

template <typename E, typename F>
void each_intent_column(E& e, F&& f) {
  f(e.unix_ms), f(e.kind), f(e.request_id), f(e.attempt), f(e.tenant), f(e.key_id);
  f(e.route), f(e.endpoint), f(e.tier), f(e.model), f(e.input), f(e.cached_input);
  f(e.cache_write), f(e.output), f(e.reasoning), f(e.amount_nano), f(e.price_id);
  f(e.baseline_model), f(e.baseline_nano), f(e.baseline_price_id), f(e.finish), f(e.delivered);
  f(e.first_token_ms), f(e.total_ms), f(e.note);
  each_later_column(e, f);
}

bool known_kind(std::string_view name) {
  return name == kind::kReserve || name == kind::kPost || name == kind::kVoid ||
         name == kind::kQuarantine || name == kind::kUnconfirmed;
}

}  // namespace

std::string encode_intent(const Intent& intent) {
  Writer out;
  out(std::int64_t{kFormat});
  each_intent_column(intent.entry, out);
  out(intent.held_ms);
  out(intent.held_nano);
  out(static_cast<std::int64_t>(intent.prices.size()));
  for (const TokenPrice& price : intent.prices) {
    each_price_field(price, out);
  }
  return out.take();
}

Result<Intent> decode_intent(std::span<const std::uint8_t> bytes) {
  Intent intent;
  Reader in(bytes);
  std::int64_t format = 0;
  in(format);
  if (in.good() && format == kFormat) {
    each_intent_column(intent.entry, in);
    in(intent.held_ms);
    in(intent.held_nano);
    std::int64_t prices = 0;
    in(prices);
    if (in.good() && prices >= 0 && static_cast<std::uint64_t>(prices) <= kMaxPrices) {
      intent.prices.resize(static_cast<std::size_t>(prices));
      for (TokenPrice& price : intent.prices) {
        each_price_field(price, in);
      }
      const bool honest = std::ranges::all_of(
          intent.prices, [](const TokenPrice& p) { return p.id == p.compute_id(); });
      const bool sane = intent.entry.amount_nano.value_or(0) >= 0 &&
                        intent.held_nano.value_or(0) >= 0 && intent.entry.format == kEntryFormat &&
                        !intent.entry.request_id.empty() &&
                        validate_usage(intent.entry.usage()).has_value();
      if (in.done() && honest && sane && known_kind(intent.entry.kind)) {
        return intent;
      }
    }
  }
  return fail(ErrorCode::kDataLoss, "a record of the intent ring is not one of ours");
}

}  // namespace genesis::ledger
