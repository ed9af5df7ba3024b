#include "api/catalog.h"

#include <algorithm>

namespace genesis {

bool is_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-:/").contains(c);
  };
  return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, allowed);
}

}  // namespace genesis
