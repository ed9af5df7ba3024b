// Reading and handing out scripted faults.
#include "script.h"

#include "base/json.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>

namespace genesis::mock {

namespace {

constexpr std::array kKinds = {
    std::string_view("none"),        // answer well; a place holder in a sequence
    std::string_view("answer"),      // another answer: `calls`, `thinking`, `cached`, `finish` ...
    std::string_view("status"),      // `status` with an error object, `retry_after` if given
    std::string_view("reset"),       // RST before the head
    std::string_view("close"),       // FIN before the head
    std::string_view("hang"),        // nothing for `ms`, then FIN
    std::string_view("slow_head"),   // the head after `ms`
    std::string_view("slow_first"),  // the head at once, the first token after `ms`
    std::string_view("cut"),         // FIN after `tokens`, no last chunk
    std::string_view("cut_reset"),   // RST after `tokens`
    std::string_view("stall"),       // silence for `ms` after `tokens`, then FIN
    std::string_view("invalid_json"),  // event number `tokens` is not JSON, the rest fine
    std::string_view("bad_event"),     // one event more, before number `tokens`, is not JSON
    std::string_view("no_done"),       // complete with usage, but no [DONE]
    std::string_view("early_done"),    // [DONE] after `tokens`, without a finish reason
    std::string_view("no_usage"),      // complete without usage
    std::string_view("wrong_usage"),   // usage a hundred times too high
    std::string_view(
        "error_object"),          // status 200 with an error object (in a stream after `tokens`)
    std::string_view("html"),     // status 200 with a page of HTML
    std::string_view("split"),    // every byte of the stream in a write of its own
    std::string_view("odd_sse"),  // CRLF, comments, a BOM, "data:" without blank
    std::string_view("other_words"),     // a good answer, from its third word on another one
    std::string_view("refuse_prefill"),  // 400 when the last message is the assistant's
};

Result<int> integer_or(const boost::json::object& object, std::string_view key, int fallback) {
  GENESIS_TRY(const auto value, get_integer(object, key));
  return value ? static_cast<int>(*value) : fallback;
}

Result<std::string> string_or_empty(const boost::json::object& object, std::string_view key) {
  GENESIS_TRY(auto value, get_string(object, key));
  return value.value_or(std::string());
}

Result<Fault> read_fault(const boost::json::value& value) {
  if (!value.is_object()) {
    return fail_param("faults", "each fault must be an object");
  }
  const auto& object = value.as_object();
  constexpr std::array known = {"fault",
                                "model",
                                "times",
                                "share",
                                "status",
                                "tokens",
                                "ms",
                                "retry_after",
                                "code",
                                "message",
                                "calls",
                                "thinking",
                                "cached",
                                "cache_write",
                                "finish"};
  for (const auto& member : object) {
    if (std::ranges::find(known, std::string_view(member.key())) == known.end()) {
      return fail_param(std::string(member.key()), "unknown field of a fault");
    }
  }
  Fault fault;
  GENESIS_TRY(fault.kind, string_or_empty(object, "fault"));
  if (std::ranges::find(kKinds, fault.kind) == kKinds.end()) {
    return fail_param("fault", "unknown fault '" + fault.kind + "'");
  }
  GENESIS_TRY(fault.model, string_or_empty(object, "model"));
  GENESIS_TRY(fault.code, string_or_empty(object, "code"));
  GENESIS_TRY(fault.message, string_or_empty(object, "message"));
  GENESIS_TRY(fault.finish, string_or_empty(object, "finish"));
  GENESIS_TRY(fault.calls, integer_or(object, "calls", fault.calls));
  GENESIS_TRY(fault.thinking, integer_or(object, "thinking", fault.thinking));
  GENESIS_TRY(fault.cached, integer_or(object, "cached", fault.cached));
  GENESIS_TRY(fault.cache_write, integer_or(object, "cache_write", fault.cache_write));
  GENESIS_TRY(fault.times, integer_or(object, "times", fault.times));
  GENESIS_TRY(fault.share, integer_or(object, "share", fault.share));
  GENESIS_TRY(fault.status, integer_or(object, "status", fault.status));
  GENESIS_TRY(fault.tokens, integer_or(object, "tokens", fault.tokens));
  GENESIS_TRY(fault.ms, integer_or(object, "ms", fault.ms));
  GENESIS_TRY(const auto retry_after, get_integer(object, "retry_after"));
  if (retry_after) {
    fault.retry_after_s = static_cast<int>(*retry_after);
  }
  return fault;
}

}  // namespace

Result<void> Script::load(std::string_view json) {
  GENESIS_TRY(const auto document, parse_json(json));
  const auto* faults = document.is_object() ? document.as_object().if_contains("faults") : nullptr;
  if (faults == nullptr || !faults->is_array()) {
    return fail_param("faults", "must be an array");
  }
  GENESIS_TRY(const auto seed, get_integer(document.as_object(), "seed"));
  std::deque<Fault> read;
  for (const auto& value : faults->as_array()) {
    GENESIS_TRY(auto fault, read_fault(value));
    read.push_back(std::move(fault));
  }
  const std::lock_guard lock(mutex_);
  if (seed) {
    random_ = Random(static_cast<std::uint64_t>(*seed));
  }
  faults_.insert(faults_.end(), read.begin(), read.end());
  return {};
}

void Script::clear() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

std::optional<Fault> Script::take(std::string_view model, bool assistant_last) {
  const std::lock_guard lock(mutex_);
  auto draw = static_cast<int>(random_.below(10'000));
  const auto hit = std::ranges::find_if(faults_, [&](const Fault& fault) {
    if (fault.share > 0) {
      draw -= fault.share;
      return draw < 0 && draw >= -fault.share && (fault.model.empty() || fault.model == model);
    }
    return (fault.model.empty() || fault.model == model) &&
           (fault.kind != "refuse_prefill" || assistant_last);
  });
  if (hit == faults_.end()) {
    return std::nullopt;
  }
  Fault fault = *hit;
  if (hit->share == 0 && hit->times > 0 && --hit->times == 0) {
    faults_.erase(hit);
  }
  return fault;
}

}  // namespace genesis::mock
