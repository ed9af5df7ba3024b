// The "model" member of a tokenizer.json.
#pragma once

#include "base/result.h"
#include "text/token_model.h"

#include <boost/json/fwd.hpp>

#include <memory>

namespace genesis::text {

// May this model take words as bytes, rather than as the printable characters that stand for them?
bool takes_bytes(const boost::json::object& model);

// `bytes`: words will arrive so.
Result<std::unique_ptr<const TokenModel>> parse_model(const boost::json::object& model, bool bytes);

}  // namespace genesis::text
