// TGI request bodies -> InferenceCall, with TGI's rules, texts and quirks.
// Source: text-generation-inference router/src/{lib,validation}.rs.
//
// Quirks kept: no `parameters` object means sampling; an object without do_sample means greedy
// unless it holds a warper (temperature other than 1, top_k, top_p); no max_new_tokens means "until
// the context is full"; a stop string stays in generated_text.
#pragma once

#include "base/result.h"
#include "server/call.h"

#include <cstdint>
#include <string_view>

namespace genesis::server {

// Which route decides about streaming: POST / by its `stream` field, the others by their name.
enum class TgiRoute : std::uint8_t { kCompat, kGenerate, kGenerateStream };

inline constexpr int kTgiMaxStopSequences = 4;  // TGI's default --max-stop-sequences
inline constexpr int kTgiMaxTopNTokens = 5;     // TGI's default --max-top-n-tokens

Result<InferenceCall> parse_tgi_request(std::string_view body, TgiRoute route);

}  // namespace genesis::server
