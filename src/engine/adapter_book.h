// AdapterBook: the adapters that a client may name in `model`, and how a prompt uses one.
#pragma once

#include "base/result.h"
#include "engine/engine.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::engine {

// Where an adapter begins in a prompt; nullopt: nowhere. An activated adapter begins with the last
// occurrence of its invocation, one without invocation at 0.
std::optional<std::int32_t> activation_position(std::span<const std::int32_t> prompt,
                                                std::span<const std::int32_t> invocation);

// Lives on the io thread.
class AdapterBook {
 public:
  struct Entry {
    std::string name;
    std::string folder;
    AdapterInfo info;
  };

  // kInvalidArgument about `lora_name` when the name cannot be used: empty, too long, or the base
  // model's. kConflict when it stands for another adapter and `replace` is not set.
  Result<void> check_name(std::string_view name, std::string_view base, bool replace) const;
  // Returns the id that the name stood for before, to be unloaded.
  std::optional<std::int32_t> put(std::string name, std::string folder, AdapterInfo info);
  std::optional<std::int32_t> take(std::string_view name);
  const Entry* find(std::string_view name) const;
  std::vector<Entry> list() const;

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

// What a prompt asks of the runner when it is meant for this adapter.
AdapterUse use_of(const AdapterInfo& adapter, std::span<const std::int32_t> prompt);

}  // namespace genesis::engine
