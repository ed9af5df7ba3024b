// What can be asked for by `model`, and how it is doing: read by the server's /v1/models and /info.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis {

// Names that we give to what `model` can say: letters, digits and ._-:/ only.
inline constexpr std::size_t kMaxName = 128;
bool is_name(std::string_view name);

// One name a client may put into `model`.
struct ModelCard {
  std::string id;
  std::string owned_by;  // "genesis" for routes and local models, else the endpoint's name
  std::int64_t created_unix = 0;
  std::int64_t max_context = 0;  // tokens; 0 = unknown
  std::string sha256;            // of the weights file; empty = unknown
  std::string kind;              // "route", "alias" or "model"
};

class ModelCatalog {
 public:
  virtual ~ModelCatalog() = default;
  virtual std::vector<ModelCard> models() const = 0;
};

}  // namespace genesis
