// Chat templates: a data-only Jinja engine, byte-equal to jinja2 as transformers configures it
// (trim_blocks, lstrip_blocks, loop controls; tojson without HTML escapes), with fuel and output
// limits. Templates are hostile data: no host object is reachable, every loop costs fuel.
#pragma once

#include "base/result.h"
#include "text/provenance.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

// Fuel bounds memory too: a step buys 16 bytes of text or a small object, so a rendering holds less
// than 64 MiB beyond a multiple of its input. Each byte of input adds a step.
struct TemplateLimits {
  std::uint64_t steps = 1'000'000;
  std::size_t output_bytes = 8 * 1024 * 1024;
  std::size_t range_items = 10'000;
  std::size_t depth = 64;
};

struct RenderInput {
  std::string_view messages;           // a JSON array of message objects
  std::string_view tools = {};         // a JSON array, or empty for none
  std::string_view model_values = {};  // a JSON object the model's files give: bos_token, eos_token
  // A JSON object the client gives: chat_template_kwargs, documents. Its text is marked as the
  // client's, and it wins over model_values.
  std::string_view client_values = {};
  bool add_generation_prompt = true;
  std::optional<std::int64_t> now = {};  // seconds since 1970 for strftime_now(); else the clock's
  bool mark_assistant = false;           // fill RenderedPrompt::from_assistant
  // Texts of the tokens that end a turn, for mark_assistant; eos_token of model_values counts too.
  std::span<const std::string> end_tokens = {};
};

// The rendered prompt and which bytes of it came from messages (not from the template), so that
// special tokens typed by a user stay text.
struct RenderedPrompt {
  std::string text;
  std::vector<PlainSpan> from_messages;  // sorted, disjoint
  // The same bytes, cut where the message or the field changes. Numbers, true, false and null are
  // written by the template and are in no span.
  std::vector<SourceSpan> sources;
  // Sorted, disjoint: the bytes the model itself would have written (see assistant_spans.h).
  std::vector<PlainSpan> from_assistant;
};

// Immutable after parsing; safe from any thread.
class ChatTemplate {
 public:
  // The error names line and construct.
  static Result<ChatTemplate> parse(std::string_view source, TemplateLimits limits = {});

  // A template's raise_exception() becomes kInvalidArgument with its text; a message it cannot take
  // becomes kInvalidArgument with the message as param; running out of fuel kResourceExhausted.
  Result<RenderedPrompt> render(const RenderInput& input) const;

  Result<RenderedPrompt> render(std::string_view messages_json,
                                std::string_view tools_json,
                                std::string_view extra_json,
                                bool add_generation_prompt) const;

  std::string_view source() const;
  // Whether a string literal or a run of text of the template contains `literal`, e.g. "<think>".
  bool mentions(std::string_view literal) const;
  // Whether the template reads the variable, e.g. "tools" or "enable_thinking".
  bool uses_variable(std::string_view name) const;

 private:
  struct Program;
  std::shared_ptr<const Program> program_;
};

}  // namespace genesis::text
