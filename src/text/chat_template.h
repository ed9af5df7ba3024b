// Chat templates: a data-only Jinja engine, byte-equal to jinja2 as transformers configures it
// (trim_blocks, lstrip_blocks, loop controls; tojson without HTML escapes), with fuel and output
// limits. Templates are hostile data: no host object is reachable, every loop costs fuel.
#pragma once

#include "base/result.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

struct TemplateLimits {
  std::uint64_t steps = 1'000'000;
  std::size_t output_bytes = 8 * 1024 * 1024;
  std::size_t range_items = 10'000;
  std::size_t depth = 64;
};

// The rendered prompt and which bytes of it came from messages (not from the template), so that
// special tokens typed by a user stay text.
struct RenderedPrompt {
  std::string text;
  std::vector<PlainSpan> from_messages;  // sorted, disjoint
};

// Immutable after parsing; safe from any thread.
class ChatTemplate {
 public:
  // The error names line and construct.
  static Result<ChatTemplate> parse(std::string_view source, TemplateLimits limits = {});

  // `messages_json` is a JSON array of message objects; `tools_json` an array or empty;
  // `extra_json` an object of further variables (bos_token, eos_token, chat_template_kwargs) or
  // empty. A template's raise_exception() becomes kInvalidArgument with its text.
  Result<RenderedPrompt> render(std::string_view messages_json,
                                std::string_view tools_json,
                                std::string_view extra_json,
                                bool add_generation_prompt) const;

  std::string_view source() const;

 private:
  struct Program;
  std::shared_ptr<const Program> program_;
};

}  // namespace genesis::text
