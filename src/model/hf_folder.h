// The small JSON files of a model folder as the Hub lays it out.
#pragma once

#include "base/result.h"

#include <boost/json.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace genesis::model {

// Bytes of one such file, far above any published one.
inline constexpr std::size_t kMaxConfig = 16U << 20;

// An absent file is an empty object; kDataLoss for JSON that is none.
Result<boost::json::value> read_object(const std::filesystem::path& path);

// "bos_token" and its kin: a string, or an object with a "content". Empty where there is neither.
std::string token_text(const boost::json::object& config, std::string_view key);

}  // namespace genesis::model
