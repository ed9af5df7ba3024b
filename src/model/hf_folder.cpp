// Hostile input like any model file: sizes and types are checked.
#include "model/hf_folder.h"

#include "base/file.h"
#include "base/json.h"

#include <system_error>

namespace genesis::model {

using boost::json::object;
using boost::json::value;

Result<value> read_object(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return object{};
  }
  GENESIS_TRY(const std::string text, read_file(path, kMaxConfig));
  GENESIS_TRY(value document, parse_json(text));
  if (!document.is_object()) {
    return fail(ErrorCode::kDataLoss, path.filename().string() + " is not a JSON object");
  }
  return document;
}

std::string token_text(const object& config, std::string_view key) {
  const value* found = config.if_contains(key);
  if (found != nullptr && found->is_object()) {
    found = found->get_object().if_contains("content");
  }
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

}  // namespace genesis::model
