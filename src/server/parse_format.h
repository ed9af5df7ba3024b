// What a client says about the form of the answer: response_format, tool_choice and the fields that
// vLLM and llama-server add (structured_outputs, guided_*, grammar). Shape and type are checked
// here; whether a schema or pattern can be honoured is for whoever answers.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <string_view>

namespace genesis::server {

// Of an OpenAI chat or completion: fills `format`, `tool_choice`, `template_variables` and
// `demands`. kInvalidArgument naming the field, also when two fields give a form.
Result<void> read_answer_form(const boost::json::object& body, ChatInput& input);

// TGI's `parameters.grammar`; `prefix` is put before its name in messages.
Result<AnswerFormat> read_tgi_grammar(const boost::json::value& grammar, std::string_view prefix);

}  // namespace genesis::server
