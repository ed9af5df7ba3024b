#include "engine/adapter_book.h"

#include "api/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::engine {

std::optional<std::int32_t> activation_position(std::span<const std::int32_t> prompt,
                                                std::span<const std::int32_t> invocation) {
  if (invocation.empty()) {
    return 0;
  }
  const auto last = std::ranges::find_end(prompt, invocation);
  if (last.empty()) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(last.begin() - prompt.begin());
}

Result<void> AdapterBook::check_name(std::string_view name,
                                     std::string_view base,
                                     bool replace) const {
  if (!is_name(name)) {
    return fail_param(
        "lora_name",
        fmt::format("'lora_name' must be 1 to {} letters, digits or . _ - / :", kMaxName));
  }
  if (name == base) {
    return fail_param("lora_name", fmt::format("'{}' is the name of the base model", name));
  }
  if (!replace && entries_.contains(name)) {
    auto error = fail_param(
        "lora_name", fmt::format("an adapter '{}' is loaded already", name), ErrorCode::kConflict);
    error.error().hint =
        "unload it first, or send \"load_inplace\": true to put this one in its place";
    return error;
  }
  return {};
}

std::optional<std::int32_t> AdapterBook::put(std::string name,
                                             std::string folder,
                                             AdapterInfo info) {
  const auto before = take(name);
  std::string key = name;
  entries_.emplace(
      std::move(key),
      Entry{.name = std::move(name), .folder = std::move(folder), .info = std::move(info)});
  return before;
}

std::optional<std::int32_t> AdapterBook::take(std::string_view name) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) {
    return std::nullopt;
  }
  const std::int32_t id = at->second.info.id;
  entries_.erase(at);
  return id;
}

const AdapterBook::Entry* AdapterBook::find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

std::vector<AdapterBook::Entry> AdapterBook::list() const {
  std::vector<Entry> all;
  all.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) {
    all.push_back(entry);
  }
  return all;
}

AdapterUse use_of(const AdapterInfo& adapter, std::span<const std::int32_t> prompt) {
  const auto from = activation_position(prompt, adapter.invocation);
  if (!from) {
    return {};
  }
  return {.id = adapter.id, .from = *from, .content_hash = adapter.content_hash};
}

}  // namespace genesis::engine
