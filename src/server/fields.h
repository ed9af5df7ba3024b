// Typed reads that the parsers of the dialects share, on top of base/json.h's.
#pragma once

#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// A whole document that must be a JSON object.
Result<boost::json::object> parse_object(std::string_view body);

// An integer that fits `int`; ranges are the caller's.
Result<std::optional<int>> get_int(const boost::json::object& object,
                                   std::string_view key,
                                   std::string_view prefix = {});

// Any 64-bit integer, signed ones as their two's complement: clients send both.
Result<std::optional<std::uint64_t>> get_seed(const boost::json::object& object,
                                              std::string_view key,
                                              std::string_view prefix = {});

// A string or a list of strings, as a list.
Result<std::vector<std::string>> get_strings(const boost::json::object& object,
                                             std::string_view key,
                                             std::string_view prefix = {});

// kInvalidArgument on `model` for a name longer than any hub name with revision and file.
Result<void> check_model_name(std::string_view name);

// True when the key is there and not null.
bool is_given(const boost::json::object& object, std::string_view key);

}  // namespace genesis::server
