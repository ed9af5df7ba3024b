#include "text/post_processor.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace genesis::text {

namespace {

using Slot = PostProcessor::Slot;

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 16;
constexpr std::size_t kMaxSlots = 64;
constexpr std::string_view kPrefix = "post_processor.";

std::unexpected<Error> unsupported(std::string what) {
  return fail_param("post_processor", std::move(what), ErrorCode::kUnsupported);
}

Result<std::int32_t> checked_id(const boost::json::value& json, std::int32_t vocab_size) {
  if (!json.is_int64() || json.get_int64() < 0 || json.get_int64() >= vocab_size) {
    return fail_param(
        "post_processor", "a special token's id is not in the vocabulary", ErrorCode::kDataLoss);
  }
  return static_cast<std::int32_t>(json.get_int64());
}

// The ids of the template's special token `name`.
Result<Slot> special_slot(const boost::json::object& processor,
                          const std::string& name,
                          std::int32_t vocab_size) {
  const boost::json::value* tokens = processor.if_contains("special_tokens");
  const boost::json::value* entry =
      tokens != nullptr && tokens->is_object() ? tokens->get_object().if_contains(name) : nullptr;
  const boost::json::value* ids =
      entry != nullptr && entry->is_object() ? entry->get_object().if_contains("ids") : nullptr;
  if (ids == nullptr || !ids->is_array()) {
    return unsupported(fmt::format("special token '{}' has no ids", name));
  }
  Slot slot;
  for (const boost::json::value& id : ids->get_array()) {
    GENESIS_TRY(const std::int32_t checked, checked_id(id, vocab_size));
    slot.ids.push_back(checked);
  }
  return slot;
}

Result<std::vector<Slot>> template_slots(const boost::json::object& processor,
                                         std::int32_t vocab_size) {
  const boost::json::value* single = processor.if_contains("single");
  if (single == nullptr || !single->is_array() || single->get_array().size() > kMaxSlots) {
    return unsupported("TemplateProcessing needs a short 'single' array");
  }
  std::vector<Slot> slots;
  for (const boost::json::value& piece : single->get_array()) {
    const boost::json::object* object = piece.if_object();
    const boost::json::value* text = object != nullptr ? object->if_contains("Sequence") : nullptr;
    const boost::json::value* special =
        object != nullptr ? object->if_contains("SpecialToken") : nullptr;
    const boost::json::value* body = text != nullptr ? text : special;
    if (body == nullptr || !body->is_object()) {
      return unsupported("a piece of 'single' is neither Sequence nor SpecialToken");
    }
    GENESIS_TRY(const auto id, get_string(body->get_object(), "id", kPrefix));
    if (text == nullptr) {
      GENESIS_TRY(Slot slot, special_slot(processor, id.value_or(""), vocab_size));
      slots.push_back(std::move(slot));
    } else if (id == "A") {
      slots.push_back({true, {}});
    } else {
      return unsupported("sequence B in the template of a single text is not supported");
    }
  }
  return slots;
}

// "cls": ["<s>", 0] and "sep": ["</s>", 2]
Result<std::vector<Slot>> class_slots(const boost::json::object& processor,
                                      std::int32_t vocab_size) {
  std::vector<Slot> slots(3);
  slots[1].is_text = true;
  for (const auto& [name, slot] : {std::pair{"cls", 0U}, std::pair{"sep", 2U}}) {
    const boost::json::value* pair = processor.if_contains(name);
    if (pair == nullptr || !pair->is_array() || pair->get_array().size() != 2) {
      return unsupported(fmt::format("'{}' must be [token, id]", name));
    }
    GENESIS_TRY(const std::int32_t id, checked_id(pair->get_array()[1], vocab_size));
    slots[slot].ids.push_back(id);
  }
  return slots;
}

}  // namespace

Result<PostProcessor> PostProcessor::parse(const boost::json::value& json,
                                           std::int32_t vocab_size) {
  PostProcessor out;
  if (!json.is_null()) {
    GENESIS_TRY_VOID(out.add(json, vocab_size, 0));
  }
  return out;
}

Result<void> PostProcessor::add_trim(const boost::json::object& json) {
  GENESIS_TRY(const auto trims, get_bool(json, "trim_offsets", kPrefix));
  GENESIS_TRY(const auto prefix, get_bool(json, "add_prefix_space", kPrefix));
  if (trims.value_or(true)) {
    steps_.push_back({{}, Trim{prefix.value_or(true)}});
  }
  return {};
}

Result<void> PostProcessor::add(const boost::json::value& json,
                                std::int32_t vocab_size,
                                std::size_t depth) {
  if (!json.is_object() || depth == kMaxDepth || steps_.size() >= kMaxSteps) {
    return unsupported("a post-processor must be an object, and a chain of them short and flat");
  }
  const boost::json::object& object = json.get_object();
  GENESIS_TRY(const auto type, get_string(object, "type", kPrefix));
  if (type == "ByteLevel") {
    return add_trim(object);
  }
  if (type == "TemplateProcessing") {
    GENESIS_TRY(auto slots, template_slots(object, vocab_size));
    steps_.push_back({std::move(slots), {}});
    return {};
  }
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    if (type == "RobertaProcessing") {
      GENESIS_TRY_VOID(add_trim(object));
    }
    GENESIS_TRY(auto slots, class_slots(object, vocab_size));
    steps_.push_back({std::move(slots), {}});
    return {};
  }
  const boost::json::value* inner = object.if_contains("processors");
  if (type == "Sequence" && inner != nullptr && inner->is_array()) {
    for (const boost::json::value& step : inner->get_array()) {
      GENESIS_TRY_VOID(add(step, vocab_size, depth + 1));
    }
    return {};
  }
  return unsupported(fmt::format("post-processor '{}' is not supported", type.value_or("null")));
}

std::vector<std::int32_t> PostProcessor::apply(std::vector<std::int32_t> ids,
                                               bool add_special_tokens) const {
  for (const Step& step : steps_) {
    if (step.trim) {
      continue;
    }
    std::vector<std::int32_t> out;
    for (const Slot& slot : step.slots) {
      const std::vector<std::int32_t>& from = slot.is_text ? ids : slot.ids;
      if (slot.is_text || add_special_tokens) {
        out.insert(out.end(), from.begin(), from.end());
      }
    }
    ids = std::move(out);
  }
  return ids;
}

bool PostProcessor::trims() const {
  return std::ranges::any_of(steps_, [](const Step& step) { return step.trim.has_value(); });
}

// Rules: tokenizers, pre_tokenizers/byte_level.rs, process_offsets.
Encoding PostProcessor::apply(Encoding encoding,
                              std::vector<TokenMargins> margins,
                              bool add_special_tokens) const {
  margins.resize(encoding.ids.size());
  for (const Step& step : steps_) {
    if (step.trim) {
      for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
        TokenOffsets& at = encoding.offsets[i];
        const bool is_first = i == 0 || at.begin == 0;
        const bool kept = is_first && step.trim->keeps_prefix && margins[i].leading == 1;
        at.begin = std::min(at.begin + (kept ? 0 : margins[i].leading), at.end);
        if (margins[i].trailing > 0 && at.end >= margins[i].trailing) {
          at.end = std::max(at.end - margins[i].trailing, at.begin);
        }
      }
      continue;
    }
    Encoding out;
    std::vector<TokenMargins> out_margins;
    for (const Slot& slot : step.slots) {
      if (slot.is_text) {
        out.ids.insert(out.ids.end(), encoding.ids.begin(), encoding.ids.end());
        out.offsets.insert(out.offsets.end(), encoding.offsets.begin(), encoding.offsets.end());
        out_margins.insert(out_margins.end(), margins.begin(), margins.end());
      } else if (add_special_tokens) {
        out.ids.insert(out.ids.end(), slot.ids.begin(), slot.ids.end());
        out.offsets.resize(out.ids.size());
        out_margins.resize(out.ids.size());
      }
    }
    encoding = std::move(out);
    margins = std::move(out_margins);
  }
  return encoding;
}

std::optional<std::int32_t> PostProcessor::first_id() const {
  const auto last = std::ranges::find_if(
      steps_.rbegin(), steps_.rend(), [](const Step& step) { return !step.trim; });
  if (last == steps_.rend() || last->slots.empty() || last->slots.front().ids.empty()) {
    return std::nullopt;
  }
  return last->slots.front().ids.front();
}

}  // namespace genesis::text
