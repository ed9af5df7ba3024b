// ToolDialect: the markers of one tool format as data, for the parser and the grammar.
#pragma once

#include "text/answer/tool_format.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace genesis::text {

// What stands behind the opening marker.
enum class CallBody : std::uint8_t {
  kJson,          // one object {"name", "arguments"} or an array of such
  kPlainJson,     // the same where JSON that is no call is just as likely
  kJsonOrHeader,  // the same, or name[ARGS]{arguments}
  kHeader,        // what names the tool in some way, up to the arguments' brace
};

struct CallOpener {
  std::string_view marker;
  std::string_view inner;   // a second marker that must follow, may be empty
  std::string_view closer;  // dropped right behind the call only, may be empty
  CallBody body = CallBody::kJson;
};

struct ToolDialect {
  std::span<const CallOpener> openers;
  std::span<const std::string_view> closers;  // dropped anywhere behind a call
  bool bare = false;                // JSON without marker may be a call at the answer's beginning
  std::string_view separators;      // dropped between calls and markers, as white space is
  std::string_view arguments_name;  // the member the model is taught; both are understood
};

const ToolDialect& tool_dialect(ToolFormat format);

// The name in the header of a CallBody::kHeader or kJsonOrHeader call: what stands between the
// opening marker and the arguments. A view into `header`.
std::string_view name_in_header(ToolFormat format, std::string_view header);

}  // namespace genesis::text
